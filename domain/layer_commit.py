"""What the images' port is asked for when a container is committed."""

from __future__ import annotations

import msgspec

from docket.domain.oci.image_config import ExecutionParameters


class LayerCommit(msgspec.Struct, frozen=True):
    """An image to be made of another one and a writable layer."""

    parent: str
    """The digest of the other image's manifest."""
    parent_size: int
    upperdir: str
    placeholders: frozenset[str]
    """Paths of the layer that are left out where they are empty: see `docket.domain.plan.views`."""
    parameters: ExecutionParameters
    author: str = ""
    comment: str = ""
    created_by: str = ""

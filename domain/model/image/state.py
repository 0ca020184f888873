"""What an image is."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from docket.domain.model.image import events
from docket.domain.model.image.events import ImageDefaults
from docket.domain.oci.manifest import OCI_MANIFEST


class ImageStatus(StrEnum):
    PRESENT = "present"
    REMOVING = "removing"


TRANSITIONS: dict[ImageStatus, dict[type[events.ImageEvent], ImageStatus]] = {
    ImageStatus.PRESENT: {
        events.ImageImported: ImageStatus.PRESENT,
        events.ImageTagged: ImageStatus.PRESENT,
        events.ImageDigestLearned: ImageStatus.PRESENT,
        events.ImageUntagged: ImageStatus.PRESENT,
        events.ImageRemoving: ImageStatus.REMOVING,
    },
    ImageStatus.REMOVING: {events.ImageImported: ImageStatus.PRESENT},
}
"""What each status allows; `ImageRemoved` ends the image."""


class Image(msgspec.Struct):
    """The folded state of one image. Only `evolve` writes to it."""

    id: str
    manifest: str
    layers: tuple[str, ...]
    size: int
    defaults: ImageDefaults
    imported_ns: int
    architecture: str = ""
    operating_system: str = "linux"
    created: str = ""
    author: str = ""
    comment: str = ""
    source: str = ""
    references: list[str] = []
    """Tags, in the order in which it got them."""
    status: ImageStatus = ImageStatus.PRESENT
    tagged_ns: int = 0
    variant: str = ""
    manifest_type: str = OCI_MANIFEST
    origin: str = "import"
    digests: list[str] = []
    """Repositories with the digest that their registry has the image under."""

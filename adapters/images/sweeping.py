"""Deleting blobs and layers that no image needs, and telling what those that are needed take.

What is needed is read from the manifests that events name. While one of them cannot be read, no blob is deleted at all: it might
be one that this manifest names.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.layers import OverlaySnapshotter
from docket.domain.errors import PortError
from docket.domain.image_ports import StoredImage, Swept
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import Digest, parse_digest
from docket.domain.oci.manifest import Manifest, decode_manifest
from docket.domain.oci.strict_json import InvalidDocument


def blobs_of(store: ContentStore, image: StoredImage) -> set[Digest]:
    """The image's manifest and what that names. Raises `PortError` if it cannot be read."""
    digest = parse_digest(image.manifest)
    try:
        document = decode_manifest(store.read(digest), image.manifest_type)
    except InvalidDocument as error:
        raise PortError(f"manifest {digest}: {error}") from error
    assert isinstance(document, Manifest)
    return {digest, document.config.digest, *(layer.digest for layer in document.layers)}


def sweep(
    store: ContentStore, snapshotter: OverlaySnapshotter, images: Sequence[StoredImage], stacks: Sequence[tuple[str, ...]],
    partials: bool,
) -> Swept:  # fmt: skip
    """Delete everything that neither the images nor the stacks of diff ids need. Raises `KernelError`."""
    chains = {chain for stack in stacks for chain in chain_ids([parse_digest(each) for each in stack])}
    chains |= {chain for image in images for chain in chain_ids([parse_digest(each) for each in image.diff_ids])}
    layers, reclaimed = 0, 0
    for chain in snapshotter.chain_ids():
        if chain not in chains:
            reclaimed += snapshotter.size(chain)
            layers += snapshotter.remove(chain)
    blobs = 0
    with suppress(PortError):
        needed = {digest for image in images for digest in blobs_of(store, image)}
        for digest in store.digests():
            if digest not in needed:
                reclaimed += store.size(digest)
                blobs += store.delete(digest)
    return Swept(blobs, layers, reclaimed + (store.drop_partials() if partials else 0))

"""The layers of an image as its manifest and its config tell of them together.

The manifest knows what is fetched (descriptors of blobs), the config what they unpack to (diff ids); each alone is half, and
two that do not fit are refused before anything is fetched.
"""

from __future__ import annotations

import msgspec

from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import Digest
from docket.domain.oci.image_config import ImageConfig
from docket.domain.oci.layer import LAYER_TYPES
from docket.domain.oci.manifest import Manifest
from docket.domain.oci.strict_json import InvalidDocument


class StackedLayer(msgspec.Struct, frozen=True):
    """One layer in its place. ``descriptor`` names the blob, ``diff_id`` its unpacked bytes, ``chain_id`` it and all below."""

    descriptor: Descriptor
    diff_id: Digest
    chain_id: Digest


def layer_stack(manifest: Manifest, config: ImageConfig) -> tuple[StackedLayer, ...]:
    """Returns the image's layers, bottom first.

    Raises `InvalidDocument` if the documents do not fit, or for a layer of a type that is not stored.
    """
    diff_ids = config.rootfs.diff_ids
    if len(manifest.layers) != len(diff_ids):
        raise InvalidDocument(f"image has {len(manifest.layers)} layers in its manifest and {len(diff_ids)} in its config")
    for layer in manifest.layers:
        if layer.media_type not in LAYER_TYPES:
            raise InvalidDocument(f"layer {layer.digest}: type {layer.media_type[:100]!r} is not supported")
    return tuple(map(StackedLayer, manifest.layers, diff_ids, chain_ids(diff_ids)))

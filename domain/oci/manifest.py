"""Image manifests and indexes, read so that nobody else can read them as something else (S24, S29).

The digest of a manifest is the digest of the bytes received; docket never hashes what it wrote again itself. The media type
inside, where there is one, must be the one that the document arrived under, and a document that has both ``layers`` and
``manifests`` is refused.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.strict_json import InvalidDocument, decode_strict

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})

MAX_LAYERS = 127
"""Docker stops at 127 layers as well; overlayfs would take 500."""
MAX_INDEX_ENTRIES = 1000


class _Document(msgspec.Struct, rename="camel"):
    """What is looked at before it is known which of the two a document is."""

    schema_version: int = 0
    media_type: str = ""
    layers: list[object] | None = None
    manifests: list[object] | None = None
    fs_layers: list[object] | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One image: its config and its layers, bottom first."""

    schema_version: Literal[2]
    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = ""
    annotations: dict[str, str] = {}
    subject: Descriptor | None = None
    artifact_type: str = ""


class Index(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Several images under one name, usually one per platform."""

    schema_version: Literal[2]
    manifests: tuple[Descriptor, ...]
    media_type: str = ""
    annotations: dict[str, str] = {}
    subject: Descriptor | None = None
    artifact_type: str = ""


def decode_manifest(data: bytes, media_type: str) -> Manifest | Index:
    """Returns the document that arrived as ``media_type``; raises `InvalidDocument`."""
    what = f"manifest of type {media_type[:100]!r}"
    if media_type not in MANIFEST_TYPES | INDEX_TYPES:
        raise InvalidDocument(f"{what}: only image manifests and indexes of OCI and Docker (schema 2) are read")
    outline = decode_strict(data, _Document, what)
    if outline.media_type not in ("", media_type):
        raise InvalidDocument(f"{what}: says of itself that it is {outline.media_type[:100]!r}")
    _check_outline(outline, media_type, what)
    if media_type in INDEX_TYPES:
        return decode_strict(data, Index, what)
    return decode_strict(data, Manifest, what)


def _check_outline(outline: _Document, media_type: str, what: str) -> None:
    has_layers = outline.layers is not None or outline.fs_layers is not None
    if has_layers and outline.manifests is not None:
        raise InvalidDocument(f"{what}: has both layers and manifests, so it could be read as either")
    if media_type in INDEX_TYPES and has_layers:
        raise InvalidDocument(f"{what}: an index with layers")
    if media_type in MANIFEST_TYPES and outline.manifests is not None:
        raise InvalidDocument(f"{what}: an image manifest with manifests")
    # Counted before each is looked at, which takes a while with very many.
    if outline.manifests is not None and len(outline.manifests) > MAX_INDEX_ENTRIES:
        raise InvalidDocument(f"{what}: {len(outline.manifests)} manifests, at most {MAX_INDEX_ENTRIES} are read")
    if outline.layers is not None and len(outline.layers) > MAX_LAYERS:
        raise InvalidDocument(f"{what}: {len(outline.layers)} layers, at most {MAX_LAYERS} can be stacked")

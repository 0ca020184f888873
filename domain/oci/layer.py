"""Layers: their media types, and the names in them that remove things from the layers below (OCI image-spec, ``layer.md``).

    .wh.NAME         a whiteout: NAME of the layers below is gone
    .wh..wh..opq     an opaque marker: nothing of this directory in the layers below shows
    .wh..wh.*        other notes that aufs left for itself: they mean nothing here and are skipped

A marker speaks of the layers below only, never of its own layer.
"""

from __future__ import annotations

import enum

TAR = "application/vnd.oci.image.layer.v1.tar"
TAR_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
TAR_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_TAR_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_TAR_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"

LAYER_TYPES = frozenset({TAR, TAR_GZIP, TAR_ZSTD, DOCKER_TAR, DOCKER_TAR_GZIP, DOCKER_TAR_ZSTD})
"""Foreign ("nondistributable") layers are not among them: they carry addresses of their own (S28)."""

WHITEOUT_PREFIX = b".wh."
META_PREFIX = b".wh..wh."
OPAQUE_MARKER = b".wh..wh..opq"


class NameKind(enum.Enum):
    """What the last part of a member's path says."""

    ORDINARY = enum.auto()
    WHITEOUT = enum.auto()
    OPAQUE = enum.auto()
    META = enum.auto()
    INVALID = enum.auto()


def kind_of(name: bytes) -> NameKind:
    """Returns what a file name in a layer means. A whiteout of nothing, of ``.`` or of ``..`` is invalid."""
    if not name.startswith(WHITEOUT_PREFIX):
        return NameKind.ORDINARY
    if name == OPAQUE_MARKER:
        return NameKind.OPAQUE
    if name.startswith(META_PREFIX):
        return NameKind.META
    return NameKind.INVALID if whiteout_target(name) in (b"", b".", b"..") else NameKind.WHITEOUT


def whiteout_target(name: bytes) -> bytes:
    """Returns the name that the whiteout ``name`` removes from the layers below."""
    return name.removeprefix(WHITEOUT_PREFIX)

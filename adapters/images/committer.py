"""From a writable layer to an image on disk: the layer is packed, digested, compressed, unpacked and stored in one pass.

The image has the parent's layers and history and one more of each; a layer without any change is left out, and its history entry
says so, as in Docker. The config is the parent's with other parameters; what it says of the platform stays. Equal layers have
equal diff ids, whenever and wherever they are committed.

As with an import everything is durable when `commit` returns, and nothing names the image yet.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator

import msgspec

from docket.adapters.images.content_store import BlobWriter, ContentStore
from docket.adapters.images.decompress import gzip_library
from docket.adapters.images.errors import InvalidArchive, disk_errors
from docket.adapters.images.importer import ImportedImage, put_documents
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.pack import Packing, pack_tree
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader
from docket.adapters.images.tar_writer import END
from docket.adapters.images.unpack import Unpacked, unpack_layer
from docket.domain.errors import InvalidArgument, PortError, Rejected
from docket.domain.layer_commit import LayerCommit
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import Digest, digest_of, parse_digest
from docket.domain.oci.image_config import History, ImageConfig, RootFS, decode_image_config
from docket.domain.oci.layer import DOCKER_TAR_GZIP, TAR_GZIP
from docket.domain.oci.manifest import MAX_LAYERS, Manifest
from docket.domain.oci.strict_json import InvalidDocument, decode_strict
from docket.domain.pieces import gathered

EMPTY_LAYER = digest_of(END)
"""The diff id of an archive without members."""

_GZIP_LEVEL = 1
_GZIP_WINDOW = 31
"""16 for gzip's header and trailer, with no time and no name in them, and the largest window."""


class _Layer(msgspec.Struct, frozen=True):
    diff_id: Digest
    descriptor: Descriptor | None
    """None for a layer that changes nothing."""
    unpacked: Unpacked


class ImageCommitter:
    """Commits into one content store and one snapshotter. Blocking; several commits may run in threads of their own."""

    def __init__(self, store: ContentStore, snapshotter: OverlaySnapshotter) -> None:
        self._store = store
        self._snapshotter = snapshotter

    def commit(self, commit: LayerCommit, created: str) -> ImportedImage:
        """Stores the image. ``created`` is an RFC 3339 time.

        Raises `Rejected` for what no layer can hold, `PortError` for a parent that is damaged and for what the disk refuses.
        """
        manifest, parent = self._parent(commit.parent)
        if len(manifest.layers) >= MAX_LAYERS:
            raise Rejected(InvalidArgument("max depth exceeded"))
        try:
            layer = self._pack(commit, parent.rootfs.diff_ids)
        except InvalidArchive as error:
            raise Rejected(InvalidArgument(f"cannot commit the container: {error}")) from error
        history = History(created, commit.created_by, commit.author, commit.comment, layer.descriptor is None)
        diff_ids = parent.rootfs.diff_ids
        config = msgspec.structs.replace(
            parent,
            rootfs=RootFS("layers", diff_ids if layer.descriptor is None else (*diff_ids, layer.diff_id)),
            config=commit.parameters,
            history=(*parent.history, history),
            created=created,
            author=commit.author,
        )
        layers = tuple(map(_as_oci, manifest.layers))
        layers = layers if layer.descriptor is None else (*layers, layer.descriptor)
        return self._stored(config, layers, layer, commit.parent_size)

    def _parent(self, digest: str) -> tuple[Manifest, ImageConfig]:
        try:
            manifest = decode_strict(self._store.read(parse_digest(digest)), Manifest, "manifest of the container's image")
            return manifest, decode_image_config(self._store.read(manifest.config.digest))
        except InvalidDocument as error:
            raise PortError(str(error)) from error

    def _pack(self, commit: LayerCommit, below: tuple[Digest, ...]) -> _Layer:
        with disk_errors("commit the layer"), self._snapshotter.prepare() as active, self._store.writer() as blob:
            digest = hashlib.sha256()
            pieces = _compressed(_hashed(_packed(commit), digest), blob)
            stream = ByteStream(pieces, TarLimits().total_bytes)
            unpacked = unpack_layer(TarReader(stream, TarLimits()), active.descriptor)
            stream.drain()
            diff_id = Digest("sha256:" + digest.hexdigest())
            if diff_id == EMPTY_LAYER:
                return _Layer(diff_id, None, unpacked)
            descriptor = Descriptor(TAR_GZIP, blob.commit(), blob.size)
            self._snapshotter.commit(active, chain_ids((*below, diff_id))[-1])
            return _Layer(diff_id, descriptor, unpacked)

    def _stored(self, config: ImageConfig, layers: tuple[Descriptor, ...], layer: _Layer, parent_size: int) -> ImportedImage:
        config_bytes, image_id, descriptor = put_documents(self._store, config, layers)
        return ImportedImage(
            image_id,
            config,
            config_bytes,
            descriptor,
            layer.descriptor or Descriptor(TAR_GZIP, layer.diff_id, 0),
            layer.diff_id,
            parent_size + layer.unpacked.size,
            layer.unpacked.members,
        )


def _as_oci(layer: Descriptor) -> Descriptor:
    """Docker's layers are the same bytes under another name; one manifest has one kind."""
    is_dockers = layer.media_type == DOCKER_TAR_GZIP
    return msgspec.structs.replace(layer, media_type=TAR_GZIP) if is_dockers else layer


def _packed(commit: LayerCommit) -> Iterator[bytes]:
    placeholders = frozenset(map(os.fsencode, commit.placeholders))
    try:
        root = os.open(commit.upperdir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # it has never been started
        yield END
        return
    try:
        yield from gathered(pack_tree(root, Packing(overlay=True, nanoseconds=True, placeholders=placeholders)))
    finally:
        os.close(root)


def _hashed(pieces: Iterator[bytes], digest: hashlib._Hash) -> Generator[bytes, None, None]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _compressed(pieces: Iterator[bytes], blob: BlobWriter) -> Generator[bytes, None, None]:
    """Passes the pieces on; what is written is their gzip form, which pushing and saving then have for nothing."""
    packer = gzip_library.compressobj(_GZIP_LEVEL, gzip_library.DEFLATED, _GZIP_WINDOW)
    for piece in pieces:
        blob.write(packer.compress(piece))
        yield piece
    blob.write(packer.flush())

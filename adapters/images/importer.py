"""From an archive in a stream to an image on disk, in one pass: blob, diff id, unpacked layer, config, manifest.

Each chunk is hashed and written as a blob, decompressed, hashed again, parsed and unpacked before the next one is taken, so
memory stays bounded whatever comes. The layer's blob is kept as it came (plain, gzip, zstd): compressing it again would cost
more CPU than everything else together and would give it another digest. Only xz and bzip2, which OCI layers may not be, are
stored unpacked.

When `import_tar` returns, everything is durable and nothing names the image yet; the event that does is the caller's. When it
raises, neither a half layer nor a half blob is left. Whole blobs that no event speaks for are garbage, as the store has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from docket.adapters.images.content_store import BlobWriter, ContentStore
from docket.adapters.images.decompress import Compression, beginning, compression_of, decompressed
from docket.adapters.images.errors import InvalidArchive, disk_errors
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader
from docket.adapters.images.unpack import Unpacked, unpack_layer
from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.oci.changes import apply_changes
from docket.domain.oci.descriptor import Descriptor, Platform
from docket.domain.oci.digest import Digest
from docket.domain.oci.image_config import ExecutionParameters, History, ImageConfig, RootFS, encode_image_config
from docket.domain.oci.layer import TAR, TAR_GZIP, TAR_ZSTD
from docket.domain.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Manifest

_MEDIA_TYPES = {Compression.GZIP: TAR_GZIP, Compression.ZSTD: TAR_ZSTD}


class ImportedImage(msgspec.Struct, frozen=True):
    """An image that is whole on disk. ``size`` is the sum of its files' lengths, as Docker shows it."""

    image_id: Digest
    config: ImageConfig
    config_bytes: bytes
    manifest: Descriptor
    layer: Descriptor
    diff_id: Digest
    size: int
    members: int


class _Layer(msgspec.Struct, frozen=True):
    descriptor: Descriptor
    diff_id: Digest
    unpacked: Unpacked


class ImageImporter:
    """Imports into one content store and one snapshotter. Blocking; several imports may run in threads of their own."""

    def __init__(self, store: ContentStore, snapshotter: OverlaySnapshotter, limits: TarLimits | None = None) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._limits = limits or TarLimits()

    def import_tar(
        self,
        chunks: Iterable[bytes],
        *,
        created: str,
        platform: Platform,
        changes: Sequence[str] = (),
        message: str = "",
        author: str = "",
        parameters: ExecutionParameters | None = None,
    ) -> ImportedImage:
        """Stores the archive as an image of one layer. ``created`` is an RFC 3339 time.

        ``changes`` are applied to ``parameters`` before a byte is read. Raises `Rejected` (`InvalidArgument`) for a wrong
        change or archive, and `PortError` for what the disk refuses.
        """
        execution = apply_changes(parameters or ExecutionParameters(), changes)
        try:
            layer = self._import_layer(iter(chunks))
        except InvalidArchive as error:
            raise Rejected(InvalidArgument(f"cannot import the archive: {error}")) from error
        config = ImageConfig(
            platform.architecture,
            platform.os,
            RootFS("layers", (layer.diff_id,)),
            execution,
            (History(created=created, author=author, comment=message),),
            created,
            author,
            platform.variant,
            platform.os_version,
            platform.os_features,
        )
        return self._store_image(config, layer)

    def _import_layer(self, chunks: Iterator[bytes]) -> _Layer:
        head, chunks = peek(chunks)
        kind = compression_of(head)
        is_stored_plain = kind not in _MEDIA_TYPES
        with self._store.writer() as blob, self._snapshotter.prepare() as active, disk_errors("unpack the layer"):
            diff_hash = None if is_stored_plain else hashlib.sha256()
            plain = written(decompressed(chunks, kind), blob) if is_stored_plain else decompressed(written(chunks, blob), kind)
            stream = ByteStream(plain if diff_hash is None else hashed(plain, diff_hash), self._limits.total_bytes)
            unpacked = unpack_layer(TarReader(stream, self._limits), active.descriptor)
            stream.drain()
            digest = blob.commit()
            diff_id = digest if diff_hash is None else Digest("sha256:" + diff_hash.hexdigest())
            # The lowest layer's chain id is its diff id.
            self._snapshotter.commit(active, diff_id)
            return _Layer(Descriptor(_MEDIA_TYPES.get(kind, TAR), digest, blob.size), diff_id, unpacked)

    def _store_image(self, config: ImageConfig, layer: _Layer) -> ImportedImage:
        config_bytes, image_id, manifest_descriptor = put_documents(self._store, config, (layer.descriptor,))
        return ImportedImage(
            image_id,
            config,
            config_bytes,
            manifest_descriptor,
            layer.descriptor,
            layer.diff_id,
            layer.unpacked.size,
            layer.unpacked.members,
        )


def put_documents(store: ContentStore, config: ImageConfig, layers: tuple[Descriptor, ...]) -> tuple[bytes, Digest, Descriptor]:
    """Stores an image's config and manifest; ``(config, image id, manifest)``."""
    config_bytes = encode_image_config(config)
    image_id = store.put(config_bytes)
    manifest = Manifest(2, Descriptor(OCI_CONFIG, image_id, len(config_bytes)), layers, OCI_MANIFEST)
    manifest_bytes = msgspec.json.encode(manifest, order="sorted")
    return config_bytes, image_id, Descriptor(OCI_MANIFEST, store.put(manifest_bytes), len(manifest_bytes))


def peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Returns the first bytes, and the stream with them still in it; raises `InvalidArchive` if there are none."""
    head, chunks = beginning(chunks)
    if not head:
        raise InvalidArchive("it is empty")
    return head, chunks


def written(chunks: Iterator[bytes], blob: BlobWriter) -> Iterator[bytes]:
    """The chunks, each of which the blob has when it comes."""
    for chunk in chunks:
        blob.write(chunk)
        yield chunk


def hashed(chunks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    """The chunks, each of which the digest knows when it comes."""
    for chunk in chunks:
        digest.update(chunk)
        yield chunk

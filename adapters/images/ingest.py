"""Images of many layers on their way in: one pass for each layer, several layers at once, and no byte fetched twice.

    bytes ─► blob: digest, file ─► decompressed ─► diff id ─► unpacked ─► layers/<chain id>

Whoever brings an image, from a registry or out of an archive, does it so:

    stack = layer_stack(manifest, config)                     # they fit, or InvalidDocument
    for layer in stack (side by side):
        await ingest.fetch_layer(layer, open_from, progress)  # whole and durable when it returns
    imported = await ingest.finish(manifest_bytes, media_type, config_bytes, origin="pull")
    await engine.execute(AddImage(imported, reference, repository_digest), job)

and all of it, up to the event, within ``engine.custody.shared()``: nothing that was found or made is swept away meanwhile.

* ``open_from(offset)`` is asked for the blob's bytes from ``offset`` on, which is not 0 when an interrupted try (even of an
  earlier engine) left a beginning. It is asked for nothing that is at hand: not for a blob that only has to be unpacked, and for
  a layer that is unpacked already only if the blob itself is missing, which `has_layer` tells beforehand.
* A blob counts when digest and size are the descriptor's and its unpacked bytes have the config's diff id; until then it and
  its directory have no name. Wrong bytes leave nothing behind; a cut leaves the beginning for the next try.
* Layers are independent directories (a whiteout is a device, whatever lies below), so each appears under its chain id as soon
  as it is whole: the order of the stack is in the chain ids. The event that names them all is the last step.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import trio

from docket.adapters.images.content_store import BlobWriter, ContentStore
from docket.adapters.images.decompress import Compression, compression_of, decompressed
from docket.adapters.images.describing import describe
from docket.adapters.images.errors import InvalidArchive, disk_errors
from docket.adapters.images.importer import hashed, peek, written
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.read_ahead import in_thread
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader
from docket.adapters.images.unpack import unpack_layer
from docket.domain.errors import DigestMismatch, KernelError, PortError
from docket.domain.model.image.events import ImageImported
from docket.domain.oci.digest import Digest, digest_of
from docket.domain.oci.image_config import decode_image_config
from docket.domain.oci.manifest import Index, decode_manifest
from docket.domain.oci.stack import StackedLayer, layer_stack
from docket.domain.oci.strict_json import InvalidDocument

LAYERS_AT_ONCE = 3
"""Docker fetches as many; each has a thread of its own."""

OpenFrom = Callable[[int], AsyncIterator[bytes]]
Progress = Callable[[int], None]

_PIECE = 512 * 1024


class BlobCut(PortError):
    """The source ended before the blob did; the next try goes on from there."""


class ImageIngest:
    """Takes images into one content store and one snapshotter. To be used in the event loop."""

    def __init__(self, store: ContentStore, snapshotter: OverlaySnapshotter, limits: TarLimits | None = None) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._limits = limits or TarLimits()
        self._turns = trio.Semaphore(LAYERS_AT_ONCE)
        self._busy: dict[Digest, trio.Lock] = {}
        self._sizes: dict[Digest, int] = {}

    def has_layer(self, layer: StackedLayer) -> bool:
        """Whether nothing is left to do for the layer: its blob is there, and it is unpacked in its place."""
        return self._store.has(layer.descriptor.digest) and self._snapshotter.has(layer.chain_id)

    async def fetch_layer(self, layer: StackedLayer, open_from: OpenFrom, progress: Progress = lambda size: None) -> None:
        """Returns when the layer is whole and durable. ``progress`` hears how many bytes of the blob there are.

        Raises `DigestMismatch` and `InvalidArchive` for wrong bytes, `BlobCut`, `KernelError` for the disk, and whatever
        ``open_from`` raises.
        """
        async with self._alone(layer.descriptor.digest), self._turns:
            while not self.has_layer(layer):
                if self._store.has(layer.descriptor.digest):
                    await trio.to_thread.run_sync(self._unpack_stored, layer)
                else:
                    await self._fetch(layer, open_from, progress)

    async def finish(self, manifest: bytes, media_type: str, config: bytes, *, origin: str, source: str = "") -> ImageImported:
        """Stores the two documents of an image whose layers are all there; returns the event that says that it is whole.

        Raises `InvalidDocument`, and `DigestMismatch` if the config is not the manifest's.
        """
        return await trio.to_thread.run_sync(self._finish, manifest, media_type, config, origin, source)

    def _finish(self, manifest: bytes, media_type: str, config: bytes, origin: str, source: str) -> ImageImported:
        document = decode_manifest(manifest, media_type)
        if isinstance(document, Index):
            raise InvalidDocument("an index is no image: choose one of its manifests")
        if digest_of(config) != document.config.digest or len(config) != document.config.size:
            raise DigestMismatch(f"image config is not the {document.config.digest} of the manifest")
        parsed = decode_image_config(config)
        size = 0
        for layer in layer_stack(document, parsed):
            if not self.has_layer(layer):
                raise PortError(f"layer {layer.descriptor.digest} is missing")
            size += self._size(layer.chain_id)
        self._store.put(config)
        digest = self._store.put(manifest)
        return describe(document.config.digest, parsed, digest, size, media_type=media_type, origin=origin, source=source)

    def _size(self, chain_id: Digest) -> int:
        if chain_id not in self._sizes:
            self._sizes[chain_id] = self._snapshotter.size(chain_id)
        return self._sizes[chain_id]

    @asynccontextmanager
    async def _alone(self, digest: Digest) -> AsyncIterator[None]:
        """Two images that share a layer fetch it once: the second waits, and finds it."""
        lock = self._busy.setdefault(digest, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._busy.pop(digest, None)

    # One layer.

    async def _fetch(self, layer: StackedLayer, open_from: OpenFrom, progress: Progress) -> None:
        """Fetches the blob; returns without it if what an earlier try left was wrong and is gone now."""
        descriptor = layer.descriptor
        unpacks = not self._snapshotter.has(layer.chain_id)
        with self._store.partial(descriptor.digest, descriptor.size) as blob:

            def work(fresh: Iterator[bytes]) -> None:
                chunks = itertools.chain(blob.again(), _whole(written(fresh, blob), blob, descriptor.size))
                self._take(layer, chunks, blob, unpacks)

            source = open_from(blob.kept) if blob.kept < descriptor.size else _nothing()
            try:
                await in_thread(source, work, lambda received: progress(blob.kept + received))
            except (DigestMismatch, InvalidArchive):
                blob.forget()
                if not blob.kept:
                    raise
            except KernelError as error:
                if error.errno in _KEEP_NOTHING:
                    blob.forget()
                raise

    def _unpack_stored(self, layer: StackedLayer) -> None:
        """Unpacks a blob that is at hand; one that has rotted is deleted, so that it is fetched again."""
        digest = layer.descriptor.digest
        try:
            self._take(layer, _pieces(self._store, digest), None, True)
        except (DigestMismatch, InvalidArchive):
            found = hashlib.sha256()
            for piece in _pieces(self._store, digest):
                found.update(piece)
            if found.hexdigest() == digest.removeprefix("sha256:"):
                raise
            self._store.delete(digest)

    def _take(self, layer: StackedLayer, chunks: Iterator[bytes], blob: BlobWriter | None, unpacks: bool) -> None:
        """The one pass. What it makes gets its name at the end, the blob before the directory."""
        with disk_errors("unpack a layer"):
            head, chunks = peek(chunks)
            kind = compression_of(head)
            diff, plain = hashlib.sha256(), decompressed(chunks, kind)
            is_plain_blob = kind is Compression.PLAIN and blob is not None  # its own digest is the diff id too
            stream = ByteStream(plain if is_plain_blob else hashed(plain, diff), self._limits.total_bytes)

            def settle() -> None:
                stream.drain()
                found = Digest("sha256:" + diff.hexdigest())
                _check_diff_id(layer, blob.digest if blob is not None and is_plain_blob else found)
                if blob is not None:
                    blob.commit(layer.descriptor.digest, layer.descriptor.size)

            if not unpacks:
                settle()
                return
            with self._snapshotter.prepare() as active:
                unpacked = unpack_layer(TarReader(stream, self._limits), active.descriptor)
                settle()
                self._snapshotter.commit(active, layer.chain_id)
            self._sizes[layer.chain_id] = unpacked.size


def _check_diff_id(layer: StackedLayer, found: Digest) -> None:
    if found != layer.diff_id:
        raise DigestMismatch(f"layer {layer.descriptor.digest} unpacks to {found}, but the image config says {layer.diff_id}")


_KEEP_NOTHING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""After these the beginning of a blob would be in the way, or is not to be trusted."""


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk


def _whole(chunks: Iterator[bytes], blob: BlobWriter, size: int) -> Iterator[bytes]:
    """The chunks; raises `BlobCut` if they end early, which says more than "truncated" from the decompressor."""
    yield from chunks
    if blob.size < size:
        raise BlobCut(f"the blob ended after {blob.size} of {size} bytes")


def _pieces(store: ContentStore, digest: Digest) -> Iterator[bytes]:
    with store.open(digest) as file:
        while piece := file.read(_PIECE):
            yield piece

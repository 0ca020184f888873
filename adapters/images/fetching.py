"""Layers and images from elsewhere, into content store and snapshotter: the image port's part that pulls need."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

import trio

from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.decompress import Compression, compression_of, decompressed
from docket.adapters.images.errors import InvalidArchive, disk_errors
from docket.adapters.images.importer import hashed, peek, written
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader
from docket.adapters.images.unpack import unpack_layer
from docket.domain.errors import DigestMismatch, PortError
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import Digest, digest_of

_PIECE = 256 * 1024


class LayerFetcher:
    """Takes layers in; several at once. One pass: blob, digest, decompression, diff id, unpacking."""

    def __init__(self, store: ContentStore, snapshotter: OverlaySnapshotter, limits: TarLimits | None = None) -> None:
        self._store = store
        self._snapshotter = snapshotter
        self._limits = limits or TarLimits()

    async def has_layer(self, chain: Digest) -> bool:
        """See `docket.domain.ports.Images`."""
        return await trio.to_thread.run_sync(self._snapshotter.has, chain)

    async def fetch_layer(
        self,
        layer: Descriptor,
        diff_id: Digest,
        parent: Digest | None,
        open_from: Callable[[int], AsyncGenerator[bytes, None]],
        progress: Callable[[int], None],
    ) -> None:
        """See `docket.domain.ports.Images`."""
        chain = diff_id if parent is None else digest_of(f"{parent} {diff_id}".encode())
        if await trio.to_thread.run_sync(self._store.has, layer.digest):
            await trio.to_thread.run_sync(self._take, self._stored(layer), layer, diff_id, chain, True)
            return
        async with aclosing(open_from(0)) as chunks:
            pieces = _blocking(chunks, progress)
            await trio.to_thread.run_sync(self._take, pieces, layer, diff_id, chain, False)

    def _stored(self, layer: Descriptor) -> Iterator[bytes]:
        with self._store.open(layer.digest) as file:
            while piece := file.read(_PIECE):
                yield piece

    def _take(self, chunks: Iterator[bytes], layer: Descriptor, diff_id: Digest, chain: Digest, stored: bool) -> None:
        try:
            head, chunks = peek(chunks)
            kind = compression_of(head)
            if kind not in (Compression.PLAIN, Compression.GZIP, Compression.ZSTD):
                raise InvalidArchive("layers are plain, gzip or zstd archives")
            with self._store.writer(layer.size) as blob, self._snapshotter.prepare() as active, disk_errors("unpack the layer"):
                digest = hashlib.sha256()
                plain = hashed(decompressed(chunks if stored else written(chunks, blob), kind), digest)
                stream = ByteStream(plain, self._limits.total_bytes)
                unpack_layer(TarReader(stream, self._limits), active.descriptor)
                stream.drain()
                if not stored:
                    blob.commit(layer.digest, layer.size)
                if f"sha256:{digest.hexdigest()}" != diff_id:
                    raise DigestMismatch(f"layer {layer.digest} unpacks to sha256:{digest.hexdigest()} instead of {diff_id}")
                self._snapshotter.commit(active, chain)
        except InvalidArchive as error:
            raise PortError(f"layer {layer.digest} cannot be unpacked: {error}") from error

    def store(self, *documents: bytes) -> None:
        """Keep a manifest, a config."""
        for each in documents:
            self._store.put(each)

    def size(self, diff_ids: tuple[Digest, ...]) -> int:
        """The length of all files of these layers."""
        return sum(self._snapshotter.size(chain) for chain in chain_ids(diff_ids))


def _blocking(chunks: AsyncGenerator[bytes, None], progress: Callable[[int], None]) -> Iterator[bytes]:
    """The chunks, asked for from a worker thread, several at a time."""
    count = 0

    async def more() -> bytes:
        nonlocal count
        pieces, size = [], 0
        async for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size >= _PIECE:
                break
        count += size
        progress(count)
        return b"".join(pieces)

    while piece := trio.from_thread.run(more):
        yield piece

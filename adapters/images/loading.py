"""From an archive of images to images: read once, verified, unpacked side by side, and all of them or none.

Blobs are stored while the archive comes and unpacked when it has ended, so each is read a second time, out of the page cache. An
archive does not say which of its blobs are layers before its end: ``manifest.json`` stands last in docker's and docket's own, and
blobs lie in the order of their digests. Unpacking whatever looks like an archive on the way would save that reading (some 30 ms
for 100 MB), unpack what is no layer of this machine's image, and put the layers one after the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import trio

from docket.adapters.images.archive_reading import ArchivedImage, ImageArchive
from docket.adapters.images.base_image import host_platform
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.ingest import ImageIngest
from docket.adapters.images.read_ahead import in_thread
from docket.adapters.images.tar_reader import TarLimits
from docket.domain.errors import DigestMismatch, InvalidArgument, Rejected
from docket.domain.image_ports import LoadedImage
from docket.domain.oci.image_config import decode_image_config
from docket.domain.oci.manifest import Manifest, decode_manifest
from docket.domain.oci.stack import StackedLayer, layer_stack
from docket.domain.oci.strict_json import InvalidDocument

Progress = Callable[[str, int, int], None]


async def load_archive(
    store: ContentStore, ingest: ImageIngest, chunks: AsyncIterator[bytes], progress: Progress, limits: TarLimits
) -> list[LoadedImage]:
    """The archive's images, whole and durable. ``progress`` hears ``(diff id, bytes, of bytes)``.

    Raises `Rejected` for an archive that is no such thing or lies, `KernelError` for the disk.
    """
    archive = ImageArchive(store, limits, host_platform())
    try:
        await in_thread(chunks, archive.take)
        images = await trio.to_thread.run_sync(archive.images)
        return [await _loaded(store, ingest, image, progress) for image in images]
    except (InvalidArchive, InvalidDocument, DigestMismatch) as error:
        raise Rejected(InvalidArgument(f"cannot load the archive: {error}")) from error


async def _loaded(store: ContentStore, ingest: ImageIngest, image: ArchivedImage, progress: Progress) -> LoadedImage:
    document = decode_manifest(image.manifest, image.media_type)
    assert isinstance(document, Manifest)
    failures: list[Exception] = []

    async def unpack(layer: StackedLayer, scope: trio.CancelScope) -> None:
        size = layer.descriptor.size
        progress(layer.diff_id, 0, size)
        try:
            await ingest.fetch_layer(layer, _absent)
        except Exception as error:
            failures.append(error)
            scope.cancel()
        progress(layer.diff_id, size, size)

    layers = layer_stack(document, decode_image_config(image.config))
    for layer in layers:
        if not store.has(layer.descriptor.digest):
            raise InvalidArchive(f"layer {layer.descriptor.digest} is not in it")
    async with trio.open_nursery() as nursery:
        for layer in layers:
            if not ingest.has_layer(layer):
                nursery.start_soon(unpack, layer, nursery.cancel_scope)
    if failures:
        raise failures[0]
    imported = await ingest.finish(image.manifest, image.media_type, image.config, origin="load")
    return LoadedImage(imported, image.references)


async def _absent(offset: int) -> AsyncIterator[bytes]:
    """A blob was in the store, rotten, and its archive did not bring another one: it was taken to be there."""
    for chunk in list[bytes]():
        yield chunk
    raise InvalidArchive("a layer in the content store is damaged: remove the image that it belongs to, and load again")

"""`ImageImports`: the domain's image port over importer and content store, off the event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import trio

from docket.adapters.images.archive_writing import write_archive
from docket.adapters.images.base_image import REFERENCE, host_platform, import_base
from docket.adapters.images.chunks import blocking
from docket.adapters.images.committer import ImageCommitter
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.describing import describe
from docket.adapters.images.importer import ImageImporter, ImportedImage
from docket.adapters.images.ingest import ImageIngest
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.loading import load_archive
from docket.adapters.images.sweeping import sweep
from docket.adapters.images.tar_reader import TarLimits
from docket.domain.layer_commit import LayerCommit
from docket.domain.model.image.events import ImageImported
from docket.domain.oci.digest import Digest
from docket.domain.ports import LoadedImage, SavedImage, StoredImage, Swept

_PIECE = 1 << 20


class ImageImports:
    """Implements `docket.domain.ports.Images`."""

    def __init__(self, store: ContentStore, snapshotter: OverlaySnapshotter, limits: TarLimits | None = None) -> None:
        self._limits = limits or TarLimits()
        self._store = store
        self._snapshotter = snapshotter
        self.ingest = ImageIngest(store, snapshotter)
        self._importer = ImageImporter(store, snapshotter)
        self._committer = ImageCommitter(store, snapshotter)

    async def import_archive(
        self, chunks: AsyncIterator[bytes], changes: Sequence[str], message: str, source: str
    ) -> ImageImported:
        created = _now()

        def work() -> ImportedImage:
            return self._importer.import_tar(
                blocking(chunks), created=created, platform=host_platform(), changes=changes, message=message
            )

        return described(await trio.to_thread.run_sync(work), source)

    async def import_base(self) -> tuple[str, ImageImported]:
        return REFERENCE, described(await trio.to_thread.run_sync(import_base, self._importer), "")

    async def commit(self, commit: LayerCommit) -> ImageImported:
        return described(await trio.to_thread.run_sync(self._committer.commit, commit, _now()), "", "commit")

    async def document(self, digest: Digest) -> bytes:
        """See the port."""
        return await trio.to_thread.run_sync(self._store.read, digest)

    async def save(self, images: Sequence[SavedImage]) -> AsyncGenerator[bytes, None]:
        """See the port."""
        pieces = write_archive(self._store, images)
        while (piece := await trio.to_thread.run_sync(next, pieces, None)) is not None:
            yield piece

    async def load(self, chunks: AsyncIterator[bytes], progress: Callable[[str, int, int], None]) -> list[LoadedImage]:
        """See the port."""
        return await load_archive(self._store, self.ingest, chunks, progress, self._limits)

    async def sweep(self, images: Sequence[StoredImage], stacks: Sequence[tuple[str, ...]], partials: bool) -> Swept:
        """See the port."""
        return await trio.to_thread.run_sync(sweep, self._store, self._snapshotter, images, stacks, partials)

    async def blob(self, digest: Digest, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """See the port."""
        with await trio.to_thread.run_sync(self._store.open, digest) as file:
            file.seek(offset)
            while piece := await trio.to_thread.run_sync(file.read, _PIECE):
                yield piece


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def described(imported: ImportedImage, source: str, origin: str = "import") -> ImageImported:
    """The event that says that this image is whole."""
    return describe(imported.image_id, imported.config, imported.manifest.digest, imported.size, origin=origin, source=source)

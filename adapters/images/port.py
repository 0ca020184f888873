"""`ImageImports`: the domain's image port over importer and content store, off the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import trio

from docket.adapters.images.base_image import REFERENCE, host_platform, import_base
from docket.adapters.images.chunks import blocking
from docket.adapters.images.committer import ImageCommitter
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.importer import ImageImporter, ImportedImage
from docket.adapters.images.layers import OverlaySnapshotter
from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.ports import LayerCommit


class ImageImports:
    """Implements `docket.domain.ports.Images`."""

    def __init__(self, store: ContentStore, snapshotter: OverlaySnapshotter) -> None:
        self._store = store
        self._snapshotter = snapshotter
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
        return described(await trio.to_thread.run_sync(self._committer.commit, commit, _now()), "")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def described(imported: ImportedImage, source: str) -> ImageImported:
    """The event that says that this image is whole."""
    config = imported.config
    parameters = config.config
    defaults = ImageDefaults()
    if parameters is not None:
        defaults = ImageDefaults(
            entrypoint=_words(parameters.entrypoint),
            command=_words(parameters.cmd),
            environment=tuple(parameters.env or ()),
            working_directory=parameters.working_dir or "",
            user=parameters.user or "",
            labels=dict(parameters.labels or {}),
            exposed_ports=tuple(parameters.exposed_ports or ()),
            volumes=tuple(parameters.volumes or ()),
            stop_signal=parameters.stop_signal or "",
        )
    return ImageImported(
        image=str(imported.image_id),
        manifest=str(imported.manifest.digest),
        layers=tuple(str(diff_id) for diff_id in config.rootfs.diff_ids),
        size=imported.size,
        defaults=defaults,
        architecture=config.architecture,
        operating_system=config.os,
        created=config.created or "",
        author=config.author or "",
        comment=config.history[-1].comment if config.history else "",
        source=source,
    )


def _words(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)

"""What stands around the engine of a replay in place of clock, ids, disk and clients: answers out of the record, and no effect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import trio

from docket.domain.engine import Engine
from docket.domain.errors import Unavailable
from docket.domain.layer_commit import LayerCommit
from docket.domain.model.image.events import ImageImported
from docket.domain.oci.digest import Digest
from docket.domain.plan.operations import HoldOverlay, MountOverlay
from docket.domain.ports import Ingest, LoadedImage, LogEntry, SavedImage, StoredImage, Swept
from docket.kernel.recording.calls import recorded_plan
from docket.kernel.recording.format import Call
from docket.kernel.replaying.log import RecordedLog


class RecordedClock:
    """Time stands where the log stands."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    def now_ns(self) -> int:
        return self.engine.state.time_ns if self.engine is not None else 0


class RecordedIds:
    """The engine's own jobs get the id of the recorded one."""

    def __init__(self, job: str) -> None:
        self._job = job

    def new(self, digits: int = 64) -> str:
        return self._job if digits == 32 else "0" * digits


class RecordedRootfs:
    """Layers are where the recorded plan has them, and removals end as the log says."""

    def __init__(self, next_call: Callable[[], Call | None], log: RecordedLog) -> None:
        self._next_call = next_call
        self._log = log

    def lowerdirs(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        call = self._next_call()
        if call is None or call.name != "launch":
            return ()
        operations = recorded_plan(call).operations()
        overlays = (operation for operation in operations if isinstance(operation, MountOverlay | HoldOverlay))
        overlay = next(overlays, None)
        return overlay.lowerdirs if overlay is not None else ()

    async def remove(self, path: str) -> None:
        failure = self._log.removal_failure()
        if failure:
            raise Unavailable(failure)


class NoRootfs:
    """There is no disk behind a log that is only looked at."""

    def lowerdirs(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        raise Unavailable("the log is only looked at: there are no layers behind it")

    async def remove(self, path: str) -> None:
        raise Unavailable("the log is only looked at: nothing is removed")


class NoImages:
    """Images come from outside; no recorded job needs one."""

    async def import_archive(
        self, chunks: AsyncIterator[bytes], changes: Sequence[str], message: str, source: str
    ) -> ImageImported:
        raise Unavailable("there are no images in a recording")

    async def import_base(self) -> tuple[str, ImageImported]:
        raise Unavailable("there are no images in a recording")

    def save(self, images: Sequence[SavedImage]) -> AsyncGenerator[bytes, None]:
        raise Unavailable("there are no images in a recording")

    async def load(self, chunks: AsyncIterator[bytes], progress: Callable[[str, int, int], None]) -> list[LoadedImage]:
        raise Unavailable("there are no images in a recording")

    async def sweep(self, images: Sequence[StoredImage], stacks: Sequence[tuple[str, ...]], partials: bool) -> Swept:
        raise Unavailable("the log is only looked at: nothing is deleted")

    @property
    def ingest(self) -> Ingest:
        raise Unavailable("there are no images in a recording")

    async def document(self, digest: Digest) -> bytes:
        raise Unavailable("there are no images in a recording")

    def blob(self, digest: Digest, offset: int = 0) -> AsyncGenerator[bytes, None]:
        raise Unavailable("there are no images in a recording")

    async def commit(self, commit: LayerCommit) -> ImageImported:
        raise Unavailable("there are no images in a recording")


class RecordedImages(NoImages):
    """Images that a job makes of a container are those that the log names."""

    def __init__(self, log: RecordedLog) -> None:
        self._log = log

    async def commit(self, commit: LayerCommit) -> ImageImported:
        made = self._log.committed()
        if isinstance(made, str):
            raise Unavailable(made)
        return made


class NoOutputs:
    """Containers' output is not part of the record."""

    def read(self, path: str, *, after_run: int = -1) -> AsyncGenerator[LogEntry, None]:
        raise Unavailable("the output of containers is not part of a recording")

    def lines(
        self, path: str, *, run: int = 0, tail: int | None = None, until: trio.Event | None = None
    ) -> AsyncGenerator[LogEntry, None]:
        raise Unavailable("the output of containers is not part of a recording")

    async def remove(self, path: str) -> None:
        raise Unavailable("the output of containers is not part of a recording")


class NoNursery:
    """What a job leaves running behind itself is another job, with a recording of its own."""

    def start_soon(self, function: Callable[..., Any], *arguments: Any) -> None:
        return


class NoEndpoint:
    """A client that was attached then."""

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        return

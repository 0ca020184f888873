"""The small ports beside the kernel, in memory: output logs, clock, ids, root filesystems."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

import msgspec
import trio

from docket.domain.image_ports import StoredImage, Swept
from docket.domain.output_lines import LineAssembler
from docket.domain.output_log import RUN_BEGINS
from docket.domain.ports import LogEntry, LogSettings
from docket.kernel.fake.filesystem import Directory, Inode, directory_at, seed

if TYPE_CHECKING:
    from docket.kernel.fake.kernel import FakeKernel

LAYERS = "/var/lib/docket/layers"


class _OutputFile:
    """The output of one container."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.dropped = 0
        """How many entries rotation has taken from the front."""
        self.writers = 0
        self.removed = False
        self.changed = trio.Event()

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class FakeOutputLogs:
    """Implements `docket.domain.ports.OutputLogs`.

    Following a log ends when its last writer has closed it or it is removed, too.
    """

    def __init__(self) -> None:
        self._files: dict[str, _OutputFile] = {}

    def open(self, path: str) -> None:
        """A process begins to write to a log."""
        file = self._files.setdefault(path, _OutputFile())
        file.writers += 1
        file.wake()

    def append(self, settings: LogSettings, entry: LogEntry) -> None:
        """Add an entry; the oldest are dropped when all files together are full."""
        file = self._files[settings.path]
        file.entries.append(entry)
        size = sum(len(kept.data) for kept in file.entries)
        while size > settings.max_bytes * settings.files and len(file.entries) > 1:
            size -= len(file.entries.pop(0).data)
            file.dropped += 1
        file.wake()

    def close(self, path: str) -> None:
        """A process has written everything."""
        self._files[path].writers -= 1
        self._files[path].wake()

    def content(self, path: str, stream: int | None = None) -> bytes:
        """All that was written, of one stream or both, for tests."""
        return b"".join(entry.data for entry in self.entries(path) if entry.stream in (stream or 1, stream or 2))

    def entries(self, path: str) -> list[LogEntry]:
        """All entries that are kept, for tests."""
        return list(self._files[path].entries) if path in self._files else []

    async def read(self, path: str, *, after_run: int = -1) -> AsyncGenerator[LogEntry, None]:
        """The entries so far."""
        await trio.lowlevel.checkpoint()
        shown = after_run < 0
        for entry in self.entries(path):
            if entry.stream == RUN_BEGINS:
                shown = shown or _run_of(entry) > after_run
            elif shown:
                yield entry

    async def lines(
        self, path: str, *, run: int = 0, tail: int | None = None, until: trio.Event | None = None
    ) -> AsyncGenerator[LogEntry, None]:
        """Whole lines, as the port says; ``until`` is looked at whenever the log changes, and when its last writer closes it."""
        await trio.lowlevel.checkpoint()
        file = self._files.setdefault(path, _OutputFile()) if until is not None else self._files.get(path, _OutputFile())
        assembler = LineAssembler()
        past = [line for entry in file.entries for line in assembler.feed(entry)]
        past += assembler.flush() if not run and until is None else []
        for line in past if tail is None else _last(past, tail):
            yield line
        position = file.dropped + len(file.entries)
        while until is not None:
            position = max(position, file.dropped)
            for entry in file.entries[position - file.dropped :]:
                position += 1
                if entry.stream == RUN_BEGINS and _run_of(entry) > run:
                    break
                for line in assembler.feed(entry):
                    yield line
            if until.is_set() or not file.writers:
                break
            await file.changed.wait()
        for line in assembler.flush():
            yield line

    async def remove(self, path: str) -> None:
        """Forget a log."""
        await trio.lowlevel.checkpoint()
        file = self._files.pop(path, None)
        if file is not None:
            file.removed = True
            file.writers = 0
            file.wake()


def _run_of(entry: LogEntry) -> int:
    return int.from_bytes(entry.data, "big")


def _last(entries: list[LogEntry], count: int) -> list[LogEntry]:
    """The last ``count`` lines of entries that hold whole lines."""
    kept: list[LogEntry] = []
    for entry in reversed(entries):
        lines = entry.data.splitlines(keepends=True)[-count:] if count else []
        count -= len(lines)
        if lines:
            kept.append(msgspec.structs.replace(entry, data=b"".join(lines)))
    return kept[::-1]


class FakeClock:
    """Implements `docket.domain.ports.Clock`: set by hand, or trio's clock, so that a mock clock moves it."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000, *, follow_trio: bool = True) -> None:
        self._base_ns = now_ns
        self._follow = follow_trio
        self._started: float | None = None

    def now_ns(self) -> int:
        """Now, in nanoseconds since the epoch."""
        if not self._follow:
            return self._base_ns
        current = trio.current_time()
        if self._started is None:
            self._started = current
        return self._base_ns + round((current - self._started) * 1e9)

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self._base_ns += ns


class SequentialIds:
    """Implements `docket.domain.ports.Ids`: the same ids for the same seed, in the same order."""

    def __init__(self, seed: str = "docket") -> None:
        self._seed = seed
        self._numbers = itertools.count(1)

    def new(self, digits: int = 64) -> str:
        """The next id."""
        number = next(self._numbers)
        text = ""
        while len(text) < digits:
            text += hashlib.sha256(f"{self._seed}/{number}/{len(text)}".encode()).hexdigest()
        return text[:digits]


class FakeRootfs:
    """Implements `docket.domain.ports.Rootfs` on a fake kernel's host filesystem.

    A layer that nobody seeded is made when it is first asked for: the lowest one with the files of a small system, the others
    empty.
    """

    def __init__(self, kernel: FakeKernel, layers: str = LAYERS) -> None:
        self._kernel = kernel
        self._layers = layers
        self.removed: list[str] = []

    def seed_layer(self, diff_id: str, files: dict[str, bytes | Inode]) -> str:
        """Make a layer with these files; returns its directory."""
        path = self._path(diff_id)
        seed(directory_at(self._kernel.host_files, path), files)
        return path

    def lowerdirs(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """The directories of the layers, top-most first."""
        for index, diff_id in enumerate(diff_ids):
            if not self._kernel.has(self._path(diff_id)):
                self._kernel.make_layer(self._path(diff_id), system=index == 0)
        return tuple(self._path(diff_id) for diff_id in reversed(diff_ids))

    async def remove(self, path: str) -> None:
        """Delete a tree; one that is not there is no error."""
        await trio.lowlevel.checkpoint()
        parent, _, name = path.rstrip("/").rpartition("/")
        if self._kernel.has(path):
            holder = directory_at(self._kernel.host_files, parent)
            assert isinstance(holder, Directory)
            del holder.entries[name]
        self.removed.append(path)

    def _path(self, diff_id: str) -> str:
        return f"{self._layers}/{diff_id.removeprefix('sha256:')}"


class NoGarbage:
    """Images where none comes or goes: a sweep finds nothing to delete."""

    async def sweep(self, images: Sequence[StoredImage], stacks: Sequence[tuple[str, ...]], partials: bool) -> Swept:
        """See `docket.domain.image_ports.Images`."""
        return Swept()

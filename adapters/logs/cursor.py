"""Reading a log forwards, from any place in it, over every rotation."""

from __future__ import annotations

from typing import Self

import trio

from docket.adapters.logs.files import LogFile, LogFiles
from docket.domain.output_log import BLOCK_BYTES
from docket.domain.output_tail import TailWalk
from docket.domain.ports import LogEntry


class Cursor:
    """A place in a log. A context manager; use it from one task."""

    def __init__(self, files: LogFiles) -> None:
        self._files = files
        self._file: LogFile | None = None
        self._offset = 0
        self._newer: LogFile | None = None
        self._end: LogFile | None = None
        self._end_offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._file, self._newer, self._end):
            if file is not None:
                file.close()

    def end_here(self) -> None:
        """Read no more than what has been written by now."""
        self._end = self._files.newest()
        self._end_offset = self._end.size if self._end is not None else 0

    async def seek_tail(self, lines: int, *, ended: bool) -> int:
        """Go to where the last lines begin (`TailWalk`); returns how many lines to skip there."""
        walk = TailWalk(lines, ended=ended)
        file = self._files.newest() if self._end is None else self._end.copy()
        size = self._end_offset
        while file is not None:
            self._place(file, 0)
            size = file.size if self._end is None or file.inode != self._end.inode else size
            for start in range((size - 1) // BLOCK_BYTES * BLOCK_BYTES, -1, -BLOCK_BYTES):
                await trio.lowlevel.checkpoint()
                found, _ = file.records_at(start, size)
                for index in range(len(found) - 1, -1, -1):
                    _, _, stream, unfinished, data = found[index]
                    walk.take(stream, unfinished, data)
                    if walk.done:
                        self._offset = found[index - 1][0] if index else start
                        return walk.skip
            file = self._files.older(file)
        return walk.skip

    def _place(self, file: LogFile, offset: int) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._offset = file, offset

    def read(self) -> list[LogEntry] | None:
        """The next entries; None when there are none for now, or no more at all."""
        if self._file is None:
            self._file = self._files.oldest()
        while self._file is not None:
            at_end = self._end is not None and self._end.inode == self._file.inode
            before = self._offset
            found, self._offset = self._file.records_at(before, self._end_offset if at_end else None)
            if found:
                return [LogEntry(time_ns, stream, data) for _, time_ns, stream, _, data in found]
            if self._offset != before:
                continue
            if at_end:
                return None
            if self._newer is not None:
                self._place(self._newer, 0)
                self._newer = None
                continue
            # Once there is a newer file this one is not written to any more: look once more before leaving it.
            self._newer = self._files.newer(self._file)
            if self._newer is None:
                return None
        return None

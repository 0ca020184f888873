"""`FileOutputLogs`: containers' output, read from what their shims write (`docket.domain.output_log`)."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext

import trio

from docket.adapters.logs.cursor import Cursor
from docket.adapters.logs.files import LogFiles
from docket.adapters.logs.notices import Notices, either
from docket.domain.output_lines import LineAssembler
from docket.domain.output_log import RUN_BEGINS
from docket.domain.ports import LogEntry


class FileOutputLogs:
    """Implements `docket.domain.ports.OutputLogs`. `run` listens for changes; who follows a log needs it."""

    def __init__(self) -> None:
        self._notices = Notices()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen for ever."""
        await self._notices.run(task_status=task_status)

    async def read(self, path: str, *, after_run: int = -1) -> AsyncGenerator[LogEntry, None]:
        shown = after_run < 0
        with Cursor(LogFiles(path)) as cursor:
            cursor.end_here()
            while (entries := cursor.read()) is not None:
                await trio.lowlevel.checkpoint()
                for entry in entries:
                    if entry.stream == RUN_BEGINS:
                        shown = shown or _run_of(entry) > after_run
                    elif shown:
                        yield entry

    async def lines(
        self, path: str, *, run: int = 0, tail: int | None = None, until: trio.Event | None = None
    ) -> AsyncGenerator[LogEntry, None]:
        with Cursor(LogFiles(path)) as cursor:
            if until is None:
                cursor.end_here()
            skip = 0 if tail is None else await cursor.seek_tail(tail, ended=not run)
            assembler = LineAssembler(skip)
            async with aclosing(self._pieces(cursor, path, run, until)) as pieces:
                async for entry in pieces:
                    for line in assembler.feed(entry):
                        yield line
            if not run or until is not None:
                for line in assembler.flush():
                    yield line

    async def _pieces(self, cursor: Cursor, path: str, run: int, until: trio.Event | None) -> AsyncGenerator[LogEntry, None]:
        """What was written; with ``until`` also what is still written, for as long as the run goes on."""
        with self._notices.watching(os.path.dirname(path)) if until is not None else nullcontext() as notice:
            while True:
                coming, ended = None if notice is None else notice.coming, until is None or until.is_set()
                while (entries := cursor.read()) is not None:
                    await trio.lowlevel.checkpoint()
                    for entry in entries:
                        if until is not None and entry.stream == RUN_BEGINS and _run_of(entry) > run:
                            return
                        yield entry
                if until is None or ended:
                    return
                await either(coming, until)

    async def remove(self, path: str) -> None:
        for name in LogFiles(path).names():
            if os.path.lexists(name):
                os.unlink(name)


def _run_of(entry: LogEntry) -> int:
    return int.from_bytes(entry.data, "big")

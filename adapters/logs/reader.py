"""`FileOutputLogs`: the records of a container's output (`docket.domain.output_log`), oldest file first."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable

import trio

from docket.domain.output_log import HEADER_BYTES, decode_header
from docket.domain.ports import LogEntry

_FILES = 16
_POLL_SECONDS = 0.05


class FileOutputLogs:
    """Implements `docket.domain.ports.OutputLogs`."""

    async def read(self, path: str, *, follow: bool = False) -> AsyncIterator[LogEntry]:
        """Every record; with ``follow`` also those still to come, for ever. A torn last record waits for its rest."""
        for older in range(_FILES, 0, -1):
            for kept in _records(f"{path}.{older}"):
                yield kept
        offset, inode = 0, 0
        while True:
            opened = _open(path)
            if opened is None:
                if not follow:
                    return
                await trio.sleep(_POLL_SECONDS)
                continue
            with os.fdopen(opened, "rb") as file:
                if os.fstat(opened).st_ino != inode:
                    offset, inode = 0, os.fstat(opened).st_ino
                file.seek(offset)
                while (entry := _record(file.read(HEADER_BYTES), file.read)) is not None:
                    offset = file.tell()
                    yield entry
            if not follow:
                return
            await trio.sleep(_POLL_SECONDS)

    async def remove(self, path: str) -> None:
        for name in (path, *(f"{path}.{number}" for number in range(1, _FILES + 1))):
            if os.path.lexists(name):
                os.unlink(name)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None


def _records(path: str) -> list[LogEntry]:
    opened = _open(path)
    if opened is None:
        return []
    entries = []
    with os.fdopen(opened, "rb") as file:
        while (entry := _record(file.read(HEADER_BYTES), file.read)) is not None:
            entries.append(entry)
    return entries


def _record(header: bytes, read: Callable[[int], bytes]) -> LogEntry | None:
    if len(header) < HEADER_BYTES:
        return None
    time_ns, stream, length = decode_header(header)
    data = read(length)
    return LogEntry(time_ns, stream, data) if len(data) == length else None

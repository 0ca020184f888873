"""Being told when a directory's files change: one inotify descriptor for all who wait (inotify(7)).

Where the kernel gives no descriptor (its limit for each user is reached), waiting falls back to looking ten times a second.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import trio

_IN_MODIFY = 0x2
_IN_MOVED = 0xC0
_IN_CREATE = 0x100
_IN_Q_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")
_READ = 65_536
_LOOK_SECONDS = 0.1


class Notice:
    """One watched directory. Take `coming` before looking at the files: it is set by whatever happens after that."""

    def __init__(self) -> None:
        self.coming = trio.Event()
        self.users = 0

    def tell(self) -> None:
        self.coming.set()
        self.coming = trio.Event()


class Notices:
    """All watched directories."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        self._watched: dict[int, Notice] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen for ever. Without this, everybody looks for himself."""
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        task_status.started()
        if self._fd < 0:
            return
        try:
            while True:
                await trio.lowlevel.wait_readable(self._fd)
                self._hear(os.read(self._fd, _READ))
        finally:
            trio.lowlevel.notify_closing(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _hear(self, data: bytes) -> None:
        told: set[int] = set()
        position = 0
        while position < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size + length
            told |= set(self._watched) if mask & _IN_Q_OVERFLOW else {watch}
        for watch in told:
            notice = self._watched.get(watch)
            if notice is not None:
                notice.tell()

    @contextmanager
    def watching(self, directory: str) -> Iterator[Notice | None]:
        """The directory's notice; None where nobody will tell."""
        watch = self._add(directory)
        if watch < 0:
            yield None
            return
        notice = self._watched.setdefault(watch, Notice())
        notice.users += 1
        try:
            yield notice
        finally:
            notice.users -= 1
            if not notice.users:
                del self._watched[watch]
                self._libc.inotify_rm_watch(self._fd, watch)

    def _add(self, directory: str) -> int:
        if self._fd < 0:
            return -1
        mask = _IN_MODIFY | _IN_MOVED | _IN_CREATE
        added: int = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), mask)
        return added


async def either(notice: trio.Event | None, until: trio.Event) -> None:
    """Wait for one of the two; without a notice, for the moment to look again."""

    async def wait_notice() -> None:
        await (notice.wait() if notice is not None else trio.sleep(_LOOK_SECONDS))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_notice)
        await until.wait()
        nursery.cancel_scope.cancel()

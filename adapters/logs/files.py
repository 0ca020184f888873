"""The files of one log: finding them, and walking from one to the next while a shim rotates them.

A name says nothing for long: ``path`` becomes ``path.1`` at any moment. A file is therefore known by its inode, which cannot be
used again while a descriptor holds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from docket.domain.output_log import next_block, records, room_in_block

_ATTEMPTS = 100

Record = tuple[int, int, int, int, bytes]
"""``(end, time_ns, stream, unfinished, data)``; the end is an offset of the file."""


class LogFile:
    """One open file of a log."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.inode = os.fstat(fd).st_ino

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def records_at(self, offset: int, end: int | None = None) -> tuple[list[Record], int]:
        """The whole records from an offset to the end of its block, and the offset behind them. ``end`` is where to stop.

        Where a block holds nothing more that can be read, the offset is that of the next one, if there is one.
        """
        size = self.size if end is None else end
        following = next_block(offset)
        block = os.pread(self._fd, max(min(following, size) - offset, 0), offset)
        found = [(offset + record[0], *record[1:]) for record in records(block)]
        if found:
            return found, found[-1][0]
        return [], following if size > following or not room_in_block(offset) else offset

    def copy(self) -> LogFile:
        return LogFile(os.dup(self._fd))

    def close(self) -> None:
        os.close(self._fd)


class LogFiles:
    """The files that a log has at any moment."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.directory, self._name = os.path.split(path)

    def names(self) -> list[str]:
        """The paths of all files, newest first."""
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        numbers = [int(name.removeprefix(f"{self._name}.")) for name in found if self._is_older(name)]
        newest = [self._path] if self._name in found else []
        return [*newest, *(f"{self._path}.{number}" for number in sorted(numbers))]

    def _is_older(self, name: str) -> bool:
        number = name.removeprefix(f"{self._name}.")
        return number != name and number.isascii() and number.isdigit()

    def newest(self) -> LogFile | None:
        return self._open(lambda inodes: 0)

    def oldest(self) -> LogFile | None:
        return self._open(lambda inodes: len(inodes) - 1)

    def newer(self, file: LogFile) -> LogFile | None:
        """The file behind an open one; the oldest when that one was dropped; None when there is none."""
        return self._open(lambda inodes: inodes.index(file.inode) - 1 if file.inode in inodes else len(inodes) - 1)

    def older(self, file: LogFile) -> LogFile | None:
        return self._open(lambda inodes: inodes.index(file.inode) + 1 if file.inode in inodes else len(inodes))

    def _open(self, choose: Callable[[list[int]], int]) -> LogFile | None:
        """Open the file that ``choose`` finds in the list of inodes, newest first; None for a place outside of it."""
        for _ in range(_ATTEMPTS):
            names = self.names()
            inodes = _inodes(names)
            if inodes is None or _inodes(self.names()) != inodes:
                continue  # the shim is rotating
            place = choose(inodes)
            if not 0 <= place < len(inodes):
                return None
            opened = _open(names[place])
            if opened is not None and opened.inode == inodes[place]:
                return opened
            if opened is not None:
                opened.close()
        raise OSError(f"the log {self._path} is rotated faster than it can be read")


def _inodes(names: list[str]) -> list[int] | None:
    try:
        return [os.lstat(name).st_ino for name in names]
    except FileNotFoundError:
        return None


def _open(path: str) -> LogFile | None:
    try:
        return LogFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except FileNotFoundError:
        return None

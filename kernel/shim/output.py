"""Writing a container's output to its log: records in files of bounded size, the oldest of which is dropped.

A run makes itself known with its first output, so that a reader can tell where one start ends and the next begins.
"""

from __future__ import annotations

import os
from time import time_ns

from docket.domain.output_log import (
    BLOCK_BYTES,
    HEADER_BYTES,
    RUN_BEGINS,
    encode_header,
    next_block,
    records,
    room_in_block,
    unfinished_after,
)


class OutputLog:
    """Appends records (`docket.domain.output_log`) to ``path`` and rotates it.

    A full disk loses output but never stops the container: what could not be written is counted in ``lost_bytes``.
    """

    def __init__(self, path: str, max_bytes: int, files: int, run: int = 0) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._files = max(files, 1)
        self._fd = -1
        self._size = 0
        self._run = run
        self._unfinished = 0
        self.lost_bytes = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        self._size = os.fstat(self._fd).st_size
        if self._size:
            self._cut_torn_end()

    def _cut_torn_end(self) -> None:
        """A host that lost its power may have left half a record, which nothing readable could follow."""
        start = (self._size - 1) // BLOCK_BYTES * BLOCK_BYTES
        block = os.pread(self._fd, BLOCK_BYTES, start)
        end = 0
        for record in records(block):
            end = record[0]
        if end < len(block) and room_in_block(start + end):
            os.ftruncate(self._fd, start + end)
            self._size = start + end

    def append(self, stream: int, data: bytes) -> None:
        """Write output; more than a block holds makes several records."""
        if self._run:
            self._write(RUN_BEGINS, memoryview(self._run.to_bytes(4, "big")))
            self._run = 0
        left = memoryview(data)
        while left:
            written = self._write(stream, left)
            self._unfinished = unfinished_after(stream, self._unfinished, left[:written])
            left = left[written:]

    def _write(self, stream: int, data: memoryview) -> int:
        """Write one record of as much as fits into a block; returns how much that was."""
        if self._size and self._size + HEADER_BYTES + min(len(data), BLOCK_BYTES) > self._max_bytes:
            self._rotate()
        room = room_in_block(self._size)
        skipped = bytes(0 if room else next_block(self._size) - self._size)
        piece = data[: room or BLOCK_BYTES - HEADER_BYTES]
        header = skipped + encode_header(time_ns(), stream, len(piece), self._unfinished)
        try:
            written = os.writev(self._fd, (header, piece))
        except OSError:
            written = 0
        if written == len(header) + len(piece):
            self._size += written
        else:
            self.lost_bytes += len(piece)
            if written:
                os.ftruncate(self._fd, self._size)
        return len(piece)

    def _rotate(self) -> None:
        os.close(self._fd)
        for number in range(self._files - 1, 0, -1):
            older = f"{self._path}.{number}"
            newer = self._path if number == 1 else f"{self._path}.{number - 1}"
            try:
                os.rename(newer, older)
            except FileNotFoundError:
                continue
        if self._files == 1:
            os.unlink(self._path)
        self._open()

    def past(self, after_run: int) -> Past:
        """What was written until now by runs behind ``after_run``; -1 for everything there is."""
        return Past([*(f"{self._path}.{number}" for number in range(self._files - 1, 0, -1)), self._path], after_run)

    def close(self) -> None:
        os.close(self._fd)


class Past:
    """The log as it is at this moment, oldest first: later output and rotation change nothing of it."""

    def __init__(self, paths: list[str], after_run: int) -> None:
        self._files: list[tuple[int, int]] = []
        for path in paths:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            self._files.append((fd, os.fstat(fd).st_size))
        self._offset = 0
        self._after_run = after_run
        self._shown = after_run < 0

    def read(self) -> list[tuple[int, bytes]]:
        """The next pieces, as ``(stream, data)``; none at the end."""
        pieces: list[tuple[int, bytes]] = []
        while self._files and not pieces:
            fd, size = self._files[0]
            start = self._offset
            if start >= size:
                os.close(fd)
                del self._files[0]
                self._offset = 0
                continue
            self._offset = min(next_block(start), size)
            for _, _, stream, _, data in records(os.pread(fd, self._offset - start, start)):
                if stream == RUN_BEGINS:
                    self._shown = self._shown or int.from_bytes(data, "big") > self._after_run
                elif self._shown:
                    pieces.append((stream, data))
        return pieces

    def close(self) -> None:
        for fd, _ in self._files:
            os.close(fd)
        self._files.clear()

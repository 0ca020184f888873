"""Writing a container's output to its log: records in files of bounded size, the oldest of which is dropped."""

from __future__ import annotations

import os
from time import time_ns

from docket.domain.output_log import HEADER_BYTES, encode_header


class OutputLog:
    """Appends records (`docket.domain.output_log`) to ``path`` and rotates it.

    A full disk loses output but never stops the container: what could not be written is counted in ``lost_bytes``.
    """

    def __init__(self, path: str, max_bytes: int, files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._files = max(files, 1)
        self._fd = -1
        self._size = 0
        self.lost_bytes = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        self._size = os.fstat(self._fd).st_size

    def append(self, stream: int, data: bytes) -> None:
        """Write one record."""
        if self._size and self._size + HEADER_BYTES + len(data) > self._max_bytes:
            self._rotate()
        record = encode_header(time_ns(), stream, len(data)) + data
        try:
            written = os.write(self._fd, record)
        except OSError:
            self.lost_bytes += len(data)
            return
        if written < len(record):
            os.ftruncate(self._fd, self._size)
            self.lost_bytes += len(data)
            return
        self._size += written

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

    def close(self) -> None:
        os.close(self._fd)

"""The multiplexed stream: frames of an 8-byte header (stream, three zeros, length in big endian) and data.

Frames of one read that go to the same descriptor are written together, so that a container that prints short lines costs one
write per read and not one per line. Output of containers is written as it is: it is theirs, not ours, to show.
"""

from __future__ import annotations

from docket.cli.context import write_all
from docket.cli.errors import CliError
from docket.cli.sanitise import printable_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DESCRIPTORS = {0: 1, 1: 1, 2: 2}
_SYSTEM_ERROR = 3


class Demultiplexer:
    """Takes the stream in pieces of any size and writes each frame's data to where it belongs."""

    def __init__(self, write: Callable[[int, bytes | memoryview], None] = write_all) -> None:
        self._write = write
        self._head = b""
        self._left = 0
        self._stream = 1

    def feed(self, data: bytes) -> None:
        """Writes what `data` completes; raises CliError for a stream that is none, or for the engine's own error in it."""
        ready: list[tuple[int, memoryview]] = []
        view = memoryview(data)
        while view:
            if self._left == 0:
                view = self._take_head(view)
                continue
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            if self._stream == _SYSTEM_ERROR:
                raise CliError(
                    f"error from daemon in stream: {printable_text(bytes(piece).decode('utf-8', 'replace')).strip()}"
                )
            descriptor = _DESCRIPTORS[self._stream]
            if ready and ready[-1][0] != descriptor:
                self._flush(ready)
            ready.append((descriptor, piece))
        self._flush(ready)

    def _take_head(self, view: memoryview) -> memoryview:
        missing = 8 - len(self._head)
        self._head += view[:missing]
        if len(self._head) == 8:
            self._stream, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
            if self._stream > _SYSTEM_ERROR:
                raise CliError(f"unrecognized input header: {self._stream}")
            self._head = b""
        return view[missing:]

    def _flush(self, ready: list[tuple[int, memoryview]]) -> None:
        if ready:
            self._write(ready[0][0], ready[0][1] if len(ready) == 1 else b"".join(piece for _, piece in ready))
            ready.clear()


class Raw:
    """The stream of a terminal: nothing is framed, everything is standard output."""

    def feed(self, data: bytes) -> None:
        write_all(1, data)

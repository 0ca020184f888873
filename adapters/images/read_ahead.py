"""Bytes that arrive in the event loop, worked on in a thread: the loop reads ahead while the thread decompresses and writes.

A thread asks the loop once for all that has come, not once for each chunk; what waits is bounded, so a slow disk slows the
sender down. An error of the source ends the work at the place where its next bytes would be; it passes through the thread as a
`_SourceFailed`, because there an `OSError` of a connection would be taken for one of the disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import trio

T = TypeVar("T")

MAX_WAITING_BYTES = 4 * 1024 * 1024


class _SourceFailed(Exception):
    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Buffer:
    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._ended = False
        self._error: Exception | None = None
        self._changed = trio.Event()

    async def fill(self, chunks: AsyncIterator[bytes], progress: Callable[[int], None]) -> None:
        received = 0
        try:
            async for chunk in chunks:
                while self._waiting >= MAX_WAITING_BYTES:
                    await self._changed.wait()
                received += len(chunk)
                self._pieces.append(chunk)
                self._waiting += len(chunk)
                self._tell()
                progress(received)
        except Exception as error:
            self._error = error
        self._ended = True
        self._tell()

    async def take(self) -> list[bytes]:
        """Everything that has come; nothing once the source has ended. Raises `_SourceFailed`."""
        while not self._pieces:
            if self._error is not None:
                raise _SourceFailed(self._error)
            if self._ended:
                return []
            await self._changed.wait()
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        self._tell()
        return pieces

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def in_thread(
    chunks: AsyncIterator[bytes], work: Callable[[Iterator[bytes]], T], progress: Callable[[int], None] = lambda received: None
) -> T:
    """Calls ``work`` in a thread with the chunks, and returns what it returns or raises what it raises.

    ``progress`` hears, in the event loop, how many bytes have come. Chunks that ``work`` leaves are not read.
    """
    buffer = _Buffer()
    failure: Exception | None = None
    result: list[T] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.fill, chunks, progress)
        try:
            result.append(await trio.to_thread.run_sync(work, _blocking(buffer)))
        except _SourceFailed as failed:
            failure = failed.error
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result[0]


def _blocking(buffer: _Buffer) -> Iterator[bytes]:
    while pieces := trio.from_thread.run(buffer.take):
        yield from pieces

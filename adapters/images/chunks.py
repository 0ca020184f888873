"""Bytes between the event loop and worker threads, one piece at a time, so that neither side waits with memory in its hands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator

import trio


def blocking(chunks: AsyncIterator[bytes]) -> Iterator[bytes]:
    """The chunks, asked for one by one from a worker thread."""
    while True:
        chunk: bytes | None = trio.from_thread.run(_next_or_none, chunks)
        if chunk is None:
            return
        yield chunk


async def _next_or_none(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def from_threads(make: Callable[[], Generator[bytes, None, None]]) -> AsyncGenerator[bytes, None]:
    """What a generator yields, each piece made in a worker thread. It is closed in one too, whatever happens."""
    pieces = await trio.to_thread.run_sync(make)
    try:
        while (piece := await trio.to_thread.run_sync(next, pieces, None)) is not None:
            yield piece
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(pieces.close)

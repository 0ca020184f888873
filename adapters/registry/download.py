"""A blob as a stream that goes on where it was cut: ``Range`` where the registry has it, skipping what is known where not.

Never more bytes than the descriptor says are passed on, and no more than a piece beyond them is read (S26). Tries are counted
anew only after real progress, so that a registry which drips cannot hold a pull for ever.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio

from docket.adapters.registry.client import Answer, Cut
from docket.adapters.registry.exchange import Exchange
from docket.domain.oci.descriptor import Descriptor
from docket.domain.registry import RegistryError

_PROGRESS_BYTES = 1 << 20
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:[0-9]{1,19}|\*)")


async def download(exchange: Exchange, path: str, scope: str, blob: Descriptor, offset: int) -> AsyncGenerator[bytes, None]:
    """The blob's bytes from ``offset`` on. Raises `RegistryError`; whoever reads it compares the digest."""
    position, tries, mark = offset, 0, offset
    while position < blob.size:
        try:
            async with aclosing(_piece(exchange, path, scope, blob, position)) as chunks:
                async for chunk in chunks:
                    position += len(chunk)
                    yield chunk
            if position < blob.size:
                raise Cut(f"blob {blob.digest}: unexpected EOF after {position} of {blob.size} bytes")
        except Cut:
            if position - mark >= _PROGRESS_BYTES:
                tries, mark = 0, position
            tries += 1
            if tries >= exchange.limits.attempts:
                raise
            await exchange.pause(tries)


async def _piece(exchange: Exchange, path: str, scope: str, blob: Descriptor, position: int) -> AsyncGenerator[bytes, None]:
    """What one request gives: all that is left, if nothing cuts it."""
    headers = {"Range": f"bytes={position}-{blob.size - 1}"} if position else {}
    url = exchange.endpoint.to(f"{path}/blobs/{blob.digest}")
    answer = await exchange.send("GET", url, scope, {**headers, "Accept-Encoding": "identity"}, expected=(200, 206))
    async with answer:
        skipped, left = _begin(answer, blob, position), blob.size - position
        async for chunk in _steadily(answer, exchange.limits.read_seconds, exchange.limits.stall_bytes):
            if skipped:
                dropped = min(skipped, len(chunk))
                chunk, skipped = chunk[dropped:], skipped - dropped
            if len(chunk) > left:
                raise RegistryError(
                    f"blob {blob.digest} is longer than the {blob.size} bytes that its manifest says", "invalid"
                )
            left -= len(chunk)
            if chunk:
                yield chunk


def _begin(answer: Answer, blob: Descriptor, position: int) -> int:
    """How many bytes of the answer are known already. Raises `RegistryError` for an answer of another length."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise RegistryError(f"blob {blob.digest} comes encoded, which nobody asked for", "invalid")
    start = 0
    if answer.status == 206:
        match = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        start = int(match[1]) if match else -1
        if not 0 <= start <= position:
            raise RegistryError(
                f"blob {blob.digest}: the registry sends another part than the one that was asked for", "invalid"
            )
    length = answer.headers.get("content-length", "")
    if length and (not length.isdigit() or len(length) > 19 or int(length) > blob.size - start):
        raise RegistryError(f"blob {blob.digest} has {length} bytes instead of {blob.size - start}", "invalid")
    return position - start


async def _steadily(answer: Answer, seconds: float, least: int) -> AsyncGenerator[bytes, None]:
    """The chunks, as long as ``least`` bytes come within ``seconds``. Raises `Cut`. Time that the reader takes does not count."""
    waited, came = 0.0, 0
    async with aclosing(answer.chunks()) as chunks:
        while True:
            before = trio.current_time()
            chunk = await anext(chunks, None)
            if chunk is None:
                return
            waited, came = waited + trio.current_time() - before, came + len(chunk)
            if waited >= seconds:
                if came < least:
                    raise Cut(f'Get "{answer.url.shown}": only {came} bytes came in {seconds:g} seconds')
                waited, came = 0.0, 0
            yield chunk

"""Byte streams: attach and exec hand the client's connection to the process's shim."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager

import trio

from docket.adapters.http import Hijacked, Query, Request, wait_gone
from docket.domain.engine import Engine
from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.model.container.state import Container
from docket.domain.ports import Attachment

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_DETACH_KEYS = "ctrl-p,ctrl-q"
_SINCE_MULTIPLEXED = (1, 42)
_MAX_SIDE = 65_535


@asynccontextmanager
async def handed_over(hijacked: Hijacked) -> AsyncIterator[tuple[socket.socket, bytes]]:
    """The client's connection as a socket that can be given to another process, and what the client has sent already.

    Over TLS the socket is one end of a pair: its bytes are pumped here, and leaving the context waits until the stream has ended.
    """
    raw = hijacked.detach()
    if raw is not None:
        yield raw, hijacked.early
        return
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pump, hijacked, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        try:
            yield theirs, hijacked.early
        except BaseException:
            theirs.close()
            raise


async def _pump(hijacked: Hijacked, stream: trio.SocketStream) -> None:
    async def inwards() -> None:
        async for data in hijacked.stream:
            await stream.send_all(data)
        await stream.send_eof()

    async def until_gone() -> None:
        await hijacked.wait_gone()
        nursery.cancel_scope.cancel()

    try:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(inwards)
            nursery.start_soon(until_gone)
            async for data in stream:
                await hijacked.stream.send_all(data)
            nursery.cancel_scope.cancel()
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # one of the two ends is gone, and so is the connection


def content_type(request: Request, terminal: bool) -> str:
    """Raw with a terminal, and to clients older than API 1.42."""
    return RAW if terminal or request.api_version < _SINCE_MULTIPLEXED else MULTIPLEXED


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as the bytes that a terminal sends. Raises `Rejected`."""
    keys = bytearray()
    for name in (text or _DETACH_KEYS).split(","):
        control = name.removeprefix("ctrl-")
        if len(name) == 1 and name.isascii():
            keys += name.encode()
        elif name != control and len(control) == 1 and control in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(control.upper()) & 0x1F)
        else:
            raise Rejected(InvalidArgument(f"Invalid detach keys ({text}) provided"))
    return bytes(keys)


def window_size(query: Query) -> tuple[int, int]:
    """``h`` and ``w`` of a resize. Raises `Rejected` for what is no size of a terminal."""
    sides = []
    for name, what in (("h", "height"), ("w", "width")):
        side = query.integer(name)
        if side is None or not 0 <= side <= _MAX_SIDE:
            raise Rejected(InvalidArgument(f"invalid resize {what} {query.get(name) or ''!r}: give a number up to {_MAX_SIDE}"))
        sides.append(side)
    return sides[0], sides[1]


async def attach(engine: Engine, request: Request) -> None:
    """``POST /containers/{id}/attach``."""
    container = engine.container(request.parameters["id"])
    with ExitStack() as coming:
        coming.enter_context(engine.arrivals.coming(container.id))
        await _attach(engine, request, container, arrived=coming.close)


async def _attach(engine: Engine, request: Request, container: Container, arrived: Callable[[], None]) -> None:
    query, terminal = request.query, container.spec.terminal
    keys = parse_detach_keys(query.get("detachKeys") or "")
    hijacked = await request.hijack(content_type(request, terminal))
    stream, past_after = query.boolean("stream"), None
    if query.boolean("logs"):
        past_after = await _send_past(engine, container, query, hijacked, stream)
    if not stream:
        return
    async with handed_over(hijacked) as (endpoint, early):
        attachment = Attachment(
            endpoint,
            query.boolean("stdin") and container.spec.stdin,
            query.boolean("stdout"),
            query.boolean("stderr"),
            not terminal,
            keys if terminal else b"",
            early,
            past_after,
        )
        job = engine.job("attach", (container.id,), request.peer.actor)
        job.attachments = (attachment,)
        await engine.run(job)
        arrived()  # over TLS the context around this lasts as long as the stream
        if _waits(engine, container.id, attachment):
            engine.spawn(_watch_waiting, engine, container.id, attachment)


def _waits(engine: Engine, container_id: str, attachment: Attachment) -> bool:
    return any(each is attachment for each in engine.waiting.get(container_id, ()))


async def _watch_waiting(engine: Engine, container_id: str, attachment: Attachment) -> None:
    """Forget a client that goes away before its container starts (S42); once it was handed over it is its shim's."""

    async def watch_client() -> None:
        await wait_gone(attachment.endpoint)
        if _waits(engine, container_id, attachment):
            engine.waiting[container_id] = [each for each in engine.waiting[container_id] if each is not attachment]
            attachment.endpoint.close()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_client)
        while _waits(engine, container_id, attachment):
            await engine.changed()
        nursery.cancel_scope.cancel()


async def _send_past(engine: Engine, container: Container, query: Query, hijacked: Hijacked, stream: bool) -> int:
    """Send what stopped runs have written, and return the last of them. What a living container wrote is left to its shim, which
    alone knows where the past ends, unless nothing but the past was asked for."""
    sent = -1
    while True:
        while container.unsettled and container.id in engine.state.containers:
            await engine.changed()
        run = container.run
        if run == sent or (stream and container.alive):
            return sent
        past = engine.ports.outputs.read(engine.ports.places.log(container.id), after_run=sent)
        wanted, terminal = chosen_streams(query), container.spec.terminal
        async with aclosing(past):
            async for entry in past:
                if entry.stream in wanted:
                    await hijacked.stream.send_all(framed(entry.stream, entry.data, terminal))
        sent = run
        if not stream:
            return sent


def chosen_streams(query: Query) -> set[int]:
    """The streams that ``stdout=`` and ``stderr=`` ask for."""
    return {number for number, name in ((1, "stdout"), (2, "stderr")) if query.boolean(name)}


def framed(stream: int, data: bytes, terminal: bool) -> bytes:
    """Docker's 8-byte header before the data, unless it comes from a terminal."""
    return data if terminal else bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data

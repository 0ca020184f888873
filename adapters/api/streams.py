"""Byte streams: attach and exec hand the client's connection to the shim; logs are read from what the shim wrote."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import trio

from docket.adapters.api.times import rfc3339
from docket.adapters.http import Hijacked, HttpError, Request, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.model.container.state import Container
from docket.domain.ports import Attachment, LogEntry

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_DETACH_KEYS = "ctrl-p,ctrl-q"
_SINCE_MULTIPLEXED = (1, 42)
_CHUNK = 65_536


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


async def attach(engine: Engine, request: Request) -> None:
    """``POST /containers/{id}/attach``."""
    container = engine.container(request.parameters["id"])
    query, terminal = request.query, container.spec.terminal
    keys = parse_detach_keys(query.get("detachKeys") or "")
    hijacked = await request.hijack(content_type(request, terminal))
    if query.boolean("logs"):
        await _send_past(engine, container, hijacked)
    if not query.boolean("stream"):
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
        )
        job = engine.job("attach", (container.id,), request.peer.actor)
        job.attachments = (attachment,)
        await engine.run(job)


async def _send_past(engine: Engine, container: Container, hijacked: Hijacked) -> None:
    async for entry in engine.ports.outputs.read(engine.ports.places.log(container.id)):
        await hijacked.stream.send_all(framed(entry.stream, entry.data, container.spec.terminal))


def framed(stream: int, data: bytes, terminal: bool) -> bytes:
    """Docker's 8-byte header before the data, unless it comes from a terminal."""
    return data if terminal else bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


async def logs(engine: Engine, request: Request) -> Stream:
    """``GET /containers/{id}/logs``."""
    container = engine.container(request.parameters["id"])
    query = request.query
    wanted = {number for number, name in ((1, "stdout"), (2, "stderr")) if query.boolean(name)}
    if not wanted:
        raise Rejected(InvalidArgument("Bad parameters: you must choose at least one stream"))
    since, until = parse_time(query.get("since")), parse_time(query.get("until"))
    tail = _tail(query.get("tail"))
    timestamps, follow, terminal = query.boolean("timestamps"), query.boolean("follow"), container.spec.terminal
    path = engine.ports.places.log(container.id)

    def shown(entry: LogEntry) -> bytes:
        if timestamps:
            stamp = rfc3339(entry.time_ns).encode() + b" "
            return b"".join(framed(entry.stream, stamp + each, terminal) for each in entry.data.splitlines(keepends=True))
        return framed(entry.stream, entry.data, terminal)

    def chosen(entry: LogEntry) -> bool:
        return entry.stream in wanted and entry.time_ns >= since and (not until or entry.time_ns <= until)

    async def write(out: StreamSender) -> None:
        past = [entry async for entry in engine.ports.outputs.read(path) if chosen(entry)] if tail is not None else None
        if past is not None and tail is not None:
            for entry in _last_lines(past, tail):
                await out.send(shown(entry))
        else:
            async for entry in engine.ports.outputs.read(path):
                if chosen(entry):
                    await out.send(shown(entry))
        if follow and container.alive:
            await _follow(engine, container, path, out, lambda entry: shown(entry) if chosen(entry) else b"")

    job = engine.job("logs", (container.id,), request.peer.actor)
    await engine.run(job)
    return Stream(write, content_type=content_type(request, terminal), endless=follow)


async def _follow(engine: Engine, container: Container, path: str, out: StreamSender, show: object) -> None:
    """What is written from now on, until the container has ended and everything is read."""
    seen = [entry.time_ns async for entry in engine.ports.outputs.read(path)]
    count = len(seen)
    run = container.run
    while True:
        ended = not container.alive or container.run != run
        index = 0
        async for entry in engine.ports.outputs.read(path):
            index += 1
            if index > count:
                data = show(entry)  # type: ignore[operator]
                if data:
                    await out.send(data)
        count = max(count, index)
        if ended:
            return
        await trio.sleep(0.05)


def _last_lines(entries: list[LogEntry], count: int) -> list[LogEntry]:
    kept: list[LogEntry] = []
    for entry in reversed(entries):
        if count <= 0:
            break
        lines = entry.data.splitlines(keepends=True)[-count:]
        count -= len(lines)
        kept.append(LogEntry(entry.time_ns, entry.stream, b"".join(lines)))
    return kept[::-1]


def _tail(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def parse_time(text: str | None) -> int:
    """Seconds with a fraction up to nine digits, or RFC 3339, as nanoseconds; 0 when not given."""
    if not text or text == "0":
        return 0
    whole, _, fraction = text.partition(".")
    if whole.isascii() and whole.isdigit() and (not fraction or fraction.isdigit()):
        return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except ValueError as error:
        raise HttpError(400, f"invalid time {text!r}: give seconds or RFC 3339") from error

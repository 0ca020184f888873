"""``_ping``, ``version``, ``info``, and docket's own view of the log."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import msgspec
import trio

from docket.adapters.api.history import find_ever
from docket.adapters.api.info import info, version
from docket.adapters.api.past import check_kept, read_past
from docket.adapters.api.times import parse_time
from docket.adapters.http import HttpError, Request, Response, Route, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.errors import Rejected, Rejection
from docket.domain.log import StoredEvent
from docket.domain.model.image.decide import find_image


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def ping(request: Request) -> Response:
        return Response.text("OK", headers=[("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache")])

    async def show_version(request: Request) -> Response:
        return Response.json(version(engine))

    async def show_info(request: Request) -> Response:
        return Response.json(info(engine))

    async def no_swarm(request: Request) -> Response:
        # docker-py's own tests leave a swarm after each test, and fail on any other status.
        return Response.error(503, "This node is not part of a swarm")

    async def log(request: Request) -> Stream:
        await engine.ports.store.settle()
        container, image = request.query.get("container"), request.query.get("image")
        return _log(engine, request, await trio.to_thread.run_sync(_stream, engine, container, image))

    return [
        Route("GET", "/_ping", ping),
        Route("HEAD", "/_ping", ping),
        Route("GET", "/version", show_version),
        Route("GET", "/info", show_info),
        Route("GET", "/swarm", no_swarm),
        Route("POST", "/swarm/leave", no_swarm),
        Route("GET", "/docket/log", log),
    ]


def _log(engine: Engine, request: Request, stream: str | None) -> Stream:
    query = request.query
    after, limit = query.integer("after", 0) or 0, query.integer("limit")
    if limit is not None and limit < 0:
        raise HttpError(400, f"query parameter 'limit' must not be negative, it is {limit}")
    check_kept(engine, after)
    wanted = query.get("type")
    since, until = parse_time(query.get("since")), parse_time(query.get("until"))
    job, follow = query.get("job"), query.boolean("follow")
    types = (wanted,) if wanted else None

    async def write(out: StreamSender) -> None:
        with engine.subscribe() as live:
            last, first = engine.ports.store.head(), after
            if limit is not None and not (stream or types or job or until):
                first = max(after, last - limit)
            past = read_past(engine, first, since_ns=since, until_ns=until, stream=stream, types=types, job=job)
            if limit is not None:
                past = _newest(past, limit)
            async for stored in past:
                last = max(last, stored.position)
                await out.send(line(stored))
            if not follow:
                return
            left = max(until - engine.ports.clock.now_ns(), 0) / 1e9 if until else float("inf")
            with trio.move_on_after(left):
                async for stored in live:
                    matches = stored.position > last and (stream is None or stored.stream == stream)
                    if matches and (not wanted or type(stored.event).__name__ == wanted) and job in (None, stored.metadata.job):
                        await out.send(line(stored))

    return Stream(write, content_type="application/x-ndjson", endless=follow)


async def _newest(past: AsyncIterator[StoredEvent], limit: int) -> AsyncIterator[StoredEvent]:
    newest: deque[StoredEvent] = deque(maxlen=limit)
    async for stored in past:
        newest.append(stored)
    for stored in newest:
        yield stored


def _stream(engine: Engine, container: str | None, image: str | None) -> str | None:
    """The stream of one object, also of a container that was removed. Raises `Rejected`."""
    if container:
        return f"container-{find_ever(engine, container)}"
    if not image:
        return None
    found = find_image(engine.state, image)
    if isinstance(found, Rejection):
        raise Rejected(found)
    return f"image-{found.id.removeprefix('sha256:')}"


def line(stored: StoredEvent) -> bytes:
    """One event as a line of JSON."""
    shown = {
        "position": stored.position,
        "stream": stored.stream,
        "version": stored.version,
        "type": type(stored.event).__name__,
        "time": stored.metadata.time_ns,
        "job": stored.metadata.job,
        "actor": stored.metadata.actor,
        "causation": stored.metadata.causation,
        "data": stored.event,
        "hash": stored.hash.hex(),
    }
    return msgspec.json.encode(shown) + b"\n"

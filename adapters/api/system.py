"""``_ping``, ``version``, ``info``, and docket's own view of the log."""

from __future__ import annotations

from collections import deque

import msgspec

from docket.adapters.api.info import info, version
from docket.adapters.http import HttpError, Request, Response, Route, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.log import StoredEvent


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
        return _log(engine, request)

    return [
        Route("GET", "/_ping", ping),
        Route("HEAD", "/_ping", ping),
        Route("GET", "/version", show_version),
        Route("GET", "/info", show_info),
        Route("GET", "/swarm", no_swarm),
        Route("POST", "/swarm/leave", no_swarm),
        Route("GET", "/docket/log", log),
    ]


def _log(engine: Engine, request: Request) -> Stream:
    query = request.query
    after, limit = query.integer("after", 0) or 0, query.integer("limit")
    if limit is not None and limit < 0:
        raise HttpError(400, f"query parameter 'limit' must not be negative, it is {limit}")
    container, wanted = query.get("container"), query.get("type")
    stream = f"container-{engine.container(container).id}" if container else None
    job, follow = query.get("job"), query.boolean("follow")
    types = (wanted,) if wanted else None

    async def write(out: StreamSender) -> None:
        await engine.ports.store.settle()
        with engine.subscribe() as live:
            last = after
            past = engine.ports.store.read(after, stream=stream, types=types, job=job)
            for stored in past if limit is None else deque(past, limit):
                last = stored.position
                await out.send(line(stored))
            if not follow:
                return
            async for stored in live:
                matches = stored.position > last and (stream is None or stored.stream == stream)
                if matches and (not wanted or type(stored.event).__name__ == wanted):
                    await out.send(line(stored))

    return Stream(write, content_type="application/x-ndjson", endless=follow)


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

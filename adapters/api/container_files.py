"""``/containers/{id}/changes``, ``export`` and ``archive``: what ``docker diff``, ``export`` and ``cp`` ask for."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta

import msgspec

from docket.adapters.http import HttpError, Request, Response, Route, Stream, StreamSender
from docket.domain.container_files import Extraction, PathStat
from docket.domain.engine import Engine
from docket.domain.jobs import files

_TAR = "application/x-tar"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The seconds of the years 1 to 9999: a container may give its files times beyond."""


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def changes(request: Request) -> Response:
        found = await engine.run(engine.job("changes", (request.parameters["id"],), request.peer.actor))
        # Docker's engine answers null where nothing changed.
        return Response.json([{"Path": each.path, "Kind": each.kind} for each in found] or None)

    async def export(request: Request) -> Stream:
        container = engine.container(request.parameters["id"])

        async def write(out: StreamSender) -> None:
            await engine.run(engine.job("export", (container.id,), request.peer.actor, out.send))

        return Stream(write, content_type="application/octet-stream")

    async def stat(request: Request) -> Response:
        found = await files.stat(engine, request.parameters["id"], _path(request))
        return Response.empty(200, [("X-Docker-Container-Path-Stat", _encoded(found))])

    async def get(request: Request) -> Stream:
        reference, path = request.parameters["id"], _path(request)
        found = await files.stat(engine, reference, path)

        async def write(out: StreamSender) -> None:
            await engine.run(engine.job("archive_get", (reference, path), request.peer.actor, files.Get(path, out.send)))

        return Stream(write, headers=[("X-Docker-Container-Path-Stat", _encoded(found))], content_type=_TAR)

    async def put(request: Request) -> Response:
        path, query = _path(request), request.query
        how = Extraction(query.boolean("noOverwriteDirNonDir"), query.boolean("copyUIDGID"))
        ask = files.Put(path, aiter(request.body_stream()), how)
        await engine.run(engine.job("archive_put", (request.parameters["id"], path), request.peer.actor, ask))
        return Response.empty(200)

    return [
        Route("GET", "/containers/{id}/changes", changes),
        Route("GET", "/containers/{id}/export", export),
        Route("HEAD", "/containers/{id}/archive", stat),
        Route("GET", "/containers/{id}/archive", get),
        Route("PUT", "/containers/{id}/archive", put, body_limit=None),
    ]


def _path(request: Request) -> str:
    path = request.query.get("path")
    if not path:
        raise HttpError(400, "bad parameter: 'path' cannot be empty")
    return path


def _encoded(found: PathStat) -> str:
    told = {
        "name": found.name,
        "size": found.size,
        "mode": found.mode,
        "mtime": _time(found.mtime_ns),
        "linkTarget": found.link_target,
    }
    return b64encode(msgspec.json.encode(told)).decode()


def _time(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    moment = _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))
    return f"{moment.replace(tzinfo=None).isoformat()}.{rest:09d}Z"

"""``/containers``: each handler names a job, hands it what was asked, and gives its result Docker's form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import localtime, strftime
from typing import Any

import msgspec

from docket.adapters.api import container_filters, container_json
from docket.adapters.api.container_request import create_request, update_request
from docket.adapters.api.fields import checked_object
from docket.adapters.api.filters import parse_filters
from docket.adapters.api.history import state_at
from docket.adapters.api.logs import logs
from docket.adapters.api.streams import attach, window_size
from docket.adapters.api.unsupported import refuse_platform
from docket.adapters.http import Request, Response, Route, Stream, StreamSender
from docket.domain.confinement.signals import parse_signal
from docket.domain.engine import Engine
from docket.domain.errors import Rejected, Rejection
from docket.domain.jobs.remove import Remove
from docket.domain.jobs.stop import Stop
from docket.domain.jobs.wait import check_condition
from docket.domain.model import texts
from docket.domain.model.container.decide import find_container
from docket.domain.model.image.decide import find_image

_SIGKILL = 9


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""
    here = Containers(engine)
    return [
        Route("GET", "/containers/json", here.list),
        Route("POST", "/containers/create", here.create),
        Route("GET", "/containers/{id}/json", here.inspect),
        Route("POST", "/containers/{id}/start", here.simple("start")),
        Route("POST", "/containers/{id}/stop", here.stop("stop")),
        Route("POST", "/containers/{id}/restart", here.stop("restart")),
        Route("POST", "/containers/{id}/kill", here.kill),
        Route("POST", "/containers/{id}/pause", here.simple("pause")),
        Route("POST", "/containers/{id}/unpause", here.simple("unpause")),
        Route("POST", "/containers/{id}/rename", here.rename),
        Route("POST", "/containers/{id}/update", here.update),
        Route("POST", "/containers/{id}/wait", here.wait),
        Route("DELETE", "/containers/{id}", here.remove),
        Route("GET", "/containers/{id}/top", here.top),
        Route("POST", "/containers/{id}/resize", here.resize),
        Route("GET", "/containers/{id}/logs", lambda request: logs(engine, request)),
        Route("POST", "/containers/{id}/attach", lambda request: attach(engine, request)),
    ]


class Containers:
    """The handlers, over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows = container_json.Rows()

    async def _run(self, request: Request, name: str, *arguments: str, ask: Any = None) -> Any:
        engine = self._engine
        return await engine.run(engine.job(name, (request.parameters.get("id", ""), *arguments), request.peer.actor, ask))

    async def list(self, request: Request) -> Response:
        engine, query = self._engine, request.query
        filters = parse_filters(query.get("filters"), container_filters.KNOWN)
        passes = container_filters.container_test(engine, filters)
        limit = query.integer("limit", 0) or 0
        everything = query.boolean("all") or limit > 0 or "status" in filters or "exited" in filters
        state = await state_at(engine, query.get("at"))
        found = [container for container in state.containers.values() if (everything or container.alive) and passes(container)]
        found.sort(key=lambda container: container.created_ns, reverse=True)
        found = found[:limit] if limit > 0 else found
        if query.get("at"):
            return Response.json(msgspec.Raw(container_json.Rows().encode(found, state.time_ns, 0)))
        self._rows.forget_all_but(state.containers)
        now, generation = engine.ports.clock.now_ns(), engine.ports.store.generation
        return Response.json(msgspec.Raw(self._rows.encode(found, now, generation)))

    async def create(self, request: Request) -> Response:
        body = checked_object(await request.json(), "the body of a create")
        engine = self._engine
        asked = create_request(body, request.query.get("name") or "")
        image = find_image(engine.state, asked.spec.image)
        if request.query.get("platform") and not isinstance(image, Rejection):
            refuse_platform(request.query.get("platform") or "", image)
        job = engine.job("create", (asked.spec.image, asked.name), request.peer.actor, asked)
        return Response.json({"Id": await engine.run(job), "Warnings": []}, 201)

    async def inspect(self, request: Request) -> Response:
        state = await state_at(self._engine, request.query.get("at"))
        found = find_container(state, request.parameters["id"])
        if isinstance(found, Rejection):
            raise Rejected(found)
        return Response.json(container_json.inspect(self._engine, found))

    def simple(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """A handler of a job that needs nothing but the container."""

        async def handler(request: Request) -> Response:
            await self._run(request, name)
            return Response.empty()

        return handler

    def stop(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """A handler of stop or restart."""

        async def handler(request: Request) -> Response:
            signal = request.query.get("signal")
            ask = Stop(parse_signal(signal) if signal else 0, request.query.integer("t"))
            await self._run(request, name, ask=ask)
            return Response.empty()

        return handler

    async def kill(self, request: Request) -> Response:
        signal = request.query.get("signal")
        number = parse_signal(signal) if signal else _SIGKILL
        await self._run(request, "kill", str(number), ask=number)
        return Response.empty()

    async def rename(self, request: Request) -> Response:
        await self._run(request, "rename", request.query.get("name") or "")
        return Response.empty()

    async def update(self, request: Request) -> Response:
        body = checked_object(await request.json(), "the body of an update")
        asked = update_request(body)
        await self._run(request, "update", ask=asked)
        return Response.json({"Warnings": []})

    async def remove(self, request: Request) -> Response:
        await self._run(request, "remove", ask=Remove(request.query.boolean("force"), request.query.boolean("v")))
        return Response.empty()

    async def wait(self, request: Request) -> Stream:
        condition = request.query.get("condition") or "not-running"
        check_condition(condition)
        self._engine.container(request.parameters["id"])

        async def write(out: StreamSender) -> None:
            code = await self._run(request, "wait", condition, ask=condition)
            await out.send(msgspec.json.encode({"StatusCode": code, "Error": None}))

        return Stream(write)

    async def resize(self, request: Request) -> Response:
        container = self._engine.container(request.parameters["id"])
        rows, columns = window_size(request.query)
        if not container.alive:
            raise Rejected(texts.not_running(container.id))
        await self._engine.ports.kernel.resize(container.id, rows, columns)
        return Response.empty(200)

    async def top(self, request: Request) -> Response:
        engine = self._engine
        container = engine.container(request.parameters["id"])
        if not container.alive:
            raise Rejected(texts.not_running(container.id))
        rows = await engine.ports.kernel.processes(container.cgroup)
        titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        return Response.json({"Titles": titles, "Processes": [_top_row(row) for row in rows]})


def _top_row(row: Any) -> list[str]:
    seconds = row.cpu_ns // 1_000_000_000
    started = strftime("%H:%M", localtime(row.start_time_ns // 1_000_000_000))
    cpu = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    user = "root" if row.uid == 0 else str(row.uid)
    return [user, str(row.pid), str(row.parent), "0", started, row.terminal, cpu, row.command]

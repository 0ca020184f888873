"""docket's own: the kernel's part in a start, the proof that no event was altered, and forgetting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio

from docket.adapters.api.times import parse_time
from docket.adapters.http import Request, Response, Route
from docket.domain import snapshots
from docket.domain.engine import Engine
from docket.domain.errors import CorruptEvent, NotFound, Rejected, StoreRefused
from docket.domain.jobs.launching import confinement_of
from docket.domain.jobs.start import plan_of
from docket.domain.model.state import EngineState, fold
from docket.domain.plan.operations import OperationResult, Plan

Explain = Callable[[Plan, Sequence[OperationResult]], str]


def routes(engine: Engine, explain: Explain) -> list[Route]:
    """The routes of this file."""

    async def explained(request: Request) -> Response:
        container = engine.container(request.parameters["id"])
        await engine.ports.store.settle()
        results: tuple[OperationResult, ...] = ()
        types = ("ContainerStarting",)
        starts = list(engine.ports.store.read(stream=f"container-{container.id}", types=types))
        if not starts:
            raise Rejected(NotFound(f"container {container.id} has never been started: there is nothing to explain"))
        confinement = confinement_of(engine, container.spec)
        lowerdirs = engine.ports.rootfs.lowerdirs(container.layers)
        recording = engine.ports.store.recording(starts[-1].metadata.job)
        if recording is not None:
            results = tuple(_result(line) for line in recording.splitlines())
        return Response.text(explain(plan_of(engine, container, confinement, lowerdirs), results))

    async def verify(request: Request) -> Response:
        await engine.ports.store.settle()
        head = engine.ports.store.head()
        try:
            report = await trio.to_thread.run_sync(engine.ports.store.verify)
        except CorruptEvent as error:
            return Response.json({"ok": False, "position": error.position, "message": str(error)})
        except StoreRefused as error:
            return Response.json({"ok": False, "position": 0, "message": str(error)})
        return Response.json({"ok": True, "events": report.events, "head": head})

    async def forget(request: Request) -> Response:
        container = engine.container(request.parameters["id"])
        references = [container.spec.environment]
        for key in container.execs:
            spec = engine.state.execs[key].spec
            references += [spec.arguments, spec.environment]
        for reference in references:
            await trio.to_thread.run_sync(engine.ports.store.forget, reference)
        return Response.empty()

    return [
        Route("GET", "/docket/explain/{id}", explained),
        Route("GET", "/docket/verify", verify),
        Route("POST", "/docket/forget/{id}", forget),
    ]


def _result(line: bytes) -> OperationResult:
    told: dict[str, Any] = msgspec.json.decode(line)
    return OperationResult(told["op"], told["errno"], told["ns"], told.get("syscall", ""), told.get("path", ""))


async def state_at(engine: Engine, at: str | None) -> EngineState:
    """The state at a position of the log or at a time (RFC 3339 or seconds); the present one when nothing is asked."""
    if not at:
        return engine.state
    store = engine.ports.store
    if at.isascii() and at.isdigit() and int(at) <= store.head():
        state, _ = await trio.to_thread.run_sync(snapshots.state_at, store, int(at))
        return state
    until = parse_time(at)

    def before() -> EngineState:
        return fold(entry for entry in store.read_for_fold() if entry[1] <= until)

    return await trio.to_thread.run_sync(before)

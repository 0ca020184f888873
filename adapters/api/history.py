"""docket's own: the kernel's part in a job, jobs executed again, the proof that no event was altered, and forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import trio

from docket.adapters.api.times import parse_time
from docket.adapters.http import Request, Response, Route, Stream, StreamSender
from docket.domain import snapshots
from docket.domain.compaction import Compact
from docket.domain.engine import Engine
from docket.domain.errors import CorruptEvent, EventsDropped, InvalidArgument, NotFound, Rejected, StoreRefused
from docket.domain.jobs import fsck
from docket.domain.jobs.launching import confinement_of
from docket.domain.jobs.start import plan_of
from docket.domain.model.container.decide import find_container
from docket.domain.model.container.state import Container
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.model.state import EngineState
from docket.domain.plan.operations import OperationResult, Plan
from docket.domain.ports import EventStore

_SHORTEST_JOB = 6
_POSITION_DIGITS = 18


class KernelHistory(Protocol):
    """What can be told of recordings."""

    def explain(self, plan: Plan, results: Sequence[OperationResult] = ()) -> str: ...

    def explain_recording(self, store: EventStore, job: str) -> str | None: ...

    def replay_job(self, store: EventStore, job: str) -> msgspec.Struct | None: ...


def routes(engine: Engine, kernel: KernelHistory) -> list[Route]:
    """The routes of this file."""
    store = engine.ports.store

    async def explained(request: Request) -> Response:
        await store.settle()
        return Response.text(await trio.to_thread.run_sync(_explained, engine, kernel, request.parameters["id"]))

    async def replayed(request: Request) -> Response:
        await store.settle()
        jobs = await trio.to_thread.run_sync(_recorded_jobs, engine, request.parameters["id"])
        replays = [await trio.to_thread.run_sync(kernel.replay_job, store, job) for job in jobs]
        return Response.json([each for each in replays if each is not None])

    async def verify(request: Request) -> Response:
        await store.settle()
        head = store.head()
        try:
            report = await trio.to_thread.run_sync(store.verify)
        except CorruptEvent as error:
            return Response.json({"ok": False, "position": error.position, "message": str(error)})
        except StoreRefused as error:
            return Response.json({"ok": False, "position": 0, "message": str(error)})
        return Response.json({"ok": True, "events": report.events, "head": head, "floor": store.floor()})

    async def compact(request: Request) -> Response:
        keep = request.query.integer("keep")
        if keep is not None and keep < 0:
            raise Rejected(InvalidArgument(f"keep must be 0 or more, not {keep}"))
        asked = Compact(
            (engine.settings.log_retention_events or EngineSettings().log_retention_events) if keep is None else keep
        )
        return Response.json(await engine.run(engine.job("compact", (), request.peer.actor, asked)))

    async def checked(request: Request) -> Response:
        return Response.json(await fsck.check(engine))

    async def repaired(request: Request) -> Response:
        return Response.json(await engine.run(engine.job("fsck", ("repair",), request.peer.actor)))

    async def export(request: Request) -> Stream:
        await store.settle()
        pieces = store.export(secrets=request.query.boolean("secrets"))

        async def write(out: StreamSender) -> None:
            while (piece := await trio.to_thread.run_sync(next, pieces, None)) is not None:
                await out.send(piece)

        return Stream(write, content_type="application/gzip")

    async def forget(request: Request) -> Response:
        container = engine.container(request.parameters["id"])
        references = [container.spec.environment]
        for key in container.execs:
            spec = engine.state.execs[key].spec
            references += [spec.arguments, spec.environment]
        for reference in references:
            await trio.to_thread.run_sync(store.forget, reference)
        return Response.empty()

    return [
        Route("GET", "/docket/explain/{id}", explained),
        Route("GET", "/docket/replay/{id}", replayed),
        Route("GET", "/docket/export", export),
        Route("POST", "/docket/log/compact", compact),
        Route("GET", "/docket/fsck", checked),
        Route("POST", "/docket/fsck", repaired),
        Route("GET", "/docket/verify", verify),
        Route("POST", "/docket/forget/{id}", forget),
    ]


def _explained(engine: Engine, kernel: KernelHistory, reference: str) -> str:
    """A job's recording, or that of a container's last start; without one, the plan as it would be now. Raises `Rejected`."""
    store = engine.ports.store
    job = _job(store, reference)
    if job is not None:
        return kernel.explain_recording(store, job) or ""
    container = find_ever(engine, reference)
    starts = list(store.read(stream=f"container-{container}", types=("ContainerStarting",)))
    if not starts:
        raise Rejected(NotFound(f"container {container} has never been started: there is nothing to explain"))
    text = kernel.explain_recording(store, starts[-1].metadata.job)
    if text is not None:
        return text
    present = engine.container(container)
    plan = plan_of(engine, present, confinement_of(engine, present.spec), engine.ports.rootfs.lowerdirs(present.layers))
    return f"# nothing is recorded of the last start any more: this is the plan as it would be now\n{kernel.explain(plan)}"


def _job(store: EventStore, reference: str) -> str | None:
    """The recorded job that is meant by an id or the beginning of one. Raises `Rejected` when several are."""
    if len(reference) < _SHORTEST_JOB:
        return None
    found = [job for job in store.recorded_jobs() if job.startswith(reference)]
    if len(found) > 1:
        raise Rejected(InvalidArgument(f"several recorded jobs begin with {reference}: give more digits"))
    return found[0] if found else None


def find_ever(engine: Engine, reference: str) -> str:
    """The id of a container that is there, or else of the last one in the log that had this name or id. Raises `Rejected`."""
    present = find_container(engine.state, reference)
    if isinstance(present, Container):
        return present.id
    last = ""
    for stored in engine.ports.store.read(types=("ContainerCreated", "ContainerRenamed")):
        event: Any = stored.event
        if event.name == reference.removeprefix("/") or event.container.startswith(reference):
            last = event.container
    if not last:
        raise Rejected(present)
    return last


def _recorded_jobs(engine: Engine, reference: str) -> list[str]:
    """The recorded jobs that are meant by a job's id, or those that touched a container or its execs. Raises `Rejected`."""
    store = engine.ports.store
    job = _job(store, reference)
    if job is not None:
        return [job]
    try:
        container = find_ever(engine, reference)
    except Rejected:
        _refuse_unrecorded(store, reference)
        raise
    touched = {stored.metadata.job for stored in store.read(stream=f"container-{container}")}
    execs = ("ExecStarting", "ExecExited")
    touched |= {
        stored.metadata.job for stored in store.read(types=execs) if getattr(stored.event, "container", "") == container
    }
    found = [job for job in store.recorded_jobs() if job in touched]
    if not found:
        raise Rejected(NotFound(f"nothing is recorded of container {container}: it made no kernel call, or it was pruned"))
    return found


def _refuse_unrecorded(store: EventStore, reference: str) -> None:
    """Raises `Rejected` when the reference means a job of which there is no recording."""
    if len(reference) < _SHORTEST_JOB:
        return
    for stored in store.read(types=("JobAccepted",)):
        event: Any = stored.event
        if event.job.startswith(reference):
            text = f"job {reference} ({event.name}) asked the kernel nothing, so there is no recording of it"
            raise Rejected(NotFound(f"{text}, or it was pruned: see what it did with docket log --job {event.job}"))


async def state_at(engine: Engine, at: str | None) -> EngineState:
    """The state at a position of the log or at a time (RFC 3339 or seconds); the present one when nothing is asked."""
    if not at:
        return engine.state
    store = engine.ports.store
    if at.isascii() and at.isdigit() and len(at) <= _POSITION_DIGITS and int(at) <= store.head():
        position = int(at)
    else:
        position = await trio.to_thread.run_sync(store.position_at, parse_time(at))
    floor = store.floor()
    if position < floor:
        raise Rejected(InvalidArgument(f"the state at {at} is no longer known: {EventsDropped(floor)}"))
    state, _ = await trio.to_thread.run_sync(snapshots.state_at, store, position)
    return state

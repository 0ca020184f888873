"""stop: the stop signal, patience, then SIGKILL."""

from __future__ import annotations

import msgspec
import trio

from docket.domain.confinement.signals import parse_signal
from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError
from docket.domain.jobs import launching
from docket.domain.model.container import events
from docket.domain.model.container.commands import StopContainer
from docket.domain.model.container.state import Container

_SIGKILL = 9
_SIGTERM = 15
_TIMEOUT_SECONDS = 10


class Stop(msgspec.Struct, frozen=True):
    """``signal`` 0 and ``timeout_seconds`` None take the container's own."""

    signal: int = 0
    timeout_seconds: int | None = None


async def stop(engine: Engine, job: Job) -> None:
    """Stop the container that the first argument names; returns when it has ended. Raises `Rejected` (NotModified)."""
    await stop_container(engine, job, engine.container(job.arguments[0]), job.request)


async def stop_container(engine: Engine, job: Job, container: Container, request: Stop) -> None:
    """Intent, signal, the wait, and the outcome."""
    spec = container.spec
    number = request.signal or (parse_signal(spec.stop_signal) if spec.stop_signal else _SIGTERM)
    own = spec.stop_timeout_seconds if spec.stop_timeout_seconds is not None else _TIMEOUT_SECONDS
    timeout = own if request.timeout_seconds is None else request.timeout_seconds
    await engine.execute(StopContainer(container.id, number, timeout), job)
    run = container.run
    try:
        await _signal(engine, container, number)
        with trio.move_on_after(timeout if timeout >= 0 else float("inf")):
            await _ended(engine, container, run)
        if container.alive and container.run == run:
            await _signal(engine, container, _SIGKILL)
            await _ended(engine, container, run)
    except PortError as error:
        await engine.record([events.ContainerStopFailed(container.id, str(error))], job)
        raise
    await engine.record([events.ContainerStopped(container.id)], job)


async def _signal(engine: Engine, container: Container, number: int) -> None:
    await engine.ports.kernel.signal(container.id, launching.identity_of(container), number)


async def _ended(engine: Engine, container: Container, run: int) -> None:
    while container.alive and container.run == run:
        await engine.progress()

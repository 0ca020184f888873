"""kill: send one signal to the container's first process; SIGKILL is done when the container has ended."""

from __future__ import annotations

import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError, Rejected
from docket.domain.jobs import launching
from docket.domain.model import texts
from docket.domain.model.container import events
from docket.domain.model.container.commands import KillContainer
from docket.domain.model.container.state import Container

_SIGKILL = 9
_PATIENCE_SECONDS = 10


async def kill(engine: Engine, job: Job) -> None:
    """Send the signal ``job.request`` (a number) to the container that the first argument names.

    After SIGKILL it returns when the end is in the log, as in Docker, so that `rm` may follow `kill`.
    """
    number: int = job.request
    await engine.execute(KillContainer(job.arguments[0], number), job)
    container = engine.container(job.arguments[0])
    run = container.run
    try:
        sent = await engine.ports.kernel.signal(container.id, launching.identity_of(container), number)
    except PortError as error:
        await engine.record([events.ContainerKillFailed(container.id, number, str(error))], job)
        raise
    if not sent:
        await engine.record([events.ContainerKillFailed(container.id, number, "the process is gone")], job)
        raise Rejected(texts.cannot_kill_stopped(job.arguments[0], container.id))
    await engine.record([events.ContainerKilled(container.id, number)], job)
    if number == _SIGKILL:
        await _ended(engine, container, run)


async def _ended(engine: Engine, container: Container, run: int) -> None:
    """Wait for the end of that run. A process in an uninterruptible call can outlive SIGKILL: then the client is told."""
    with trio.move_on_after(_PATIENCE_SECONDS) as patience:
        while container.run == run and (container.alive or container.unsettled):
            await engine.progress()
    if patience.cancelled_caught:
        raise PortError(f"container {container.id} was sent SIGKILL and has not ended within {_PATIENCE_SECONDS} seconds")

"""kill: send one signal to the container's first process."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError, Rejected
from docket.domain.jobs import launching
from docket.domain.model import texts
from docket.domain.model.container import events
from docket.domain.model.container.commands import KillContainer


async def kill(engine: Engine, job: Job) -> None:
    """Send the signal ``job.request`` (a number) to the container that the first argument names."""
    number: int = job.request
    await engine.execute(KillContainer(job.arguments[0], number), job)
    container = engine.container(job.arguments[0])
    try:
        sent = await engine.ports.kernel.signal(container.id, launching.identity_of(container), number)
    except PortError as error:
        await engine.record([events.ContainerKillFailed(container.id, number, str(error))], job)
        raise
    if not sent:
        await engine.record([events.ContainerKillFailed(container.id, number, "the process is gone")], job)
        raise Rejected(texts.cannot_kill_stopped(job.arguments[0], container.id))
    await engine.record([events.ContainerKilled(container.id, number)], job)

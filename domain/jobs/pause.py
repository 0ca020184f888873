"""pause and unpause: the container's cgroup is frozen or thawed."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError
from docket.domain.model.container import events
from docket.domain.model.container.commands import PauseContainer, UnpauseContainer
from docket.domain.model.container.state import Container


async def pause(engine: Engine, job: Job) -> None:
    """Freeze the container that the first argument names."""
    await engine.execute(PauseContainer(job.arguments[0]), job)
    await freeze(engine, job, engine.container(job.arguments[0]))


async def freeze(engine: Engine, job: Job, container: Container) -> None:
    """Effect and outcome of a pause whose intent is in the log. Raises `PortError`; that is in the log then."""
    try:
        await engine.ports.kernel.freeze(container.cgroup)
    except PortError as error:
        await engine.record([events.ContainerPauseFailed(container.id, str(error))], job)
        raise
    await engine.record([events.ContainerPaused(container.id)], job)


async def unpause(engine: Engine, job: Job) -> None:
    """Thaw the container that the first argument names."""
    await engine.execute(UnpauseContainer(job.arguments[0]), job)
    container = engine.container(job.arguments[0])
    try:
        await engine.ports.kernel.thaw(container.cgroup)
    except PortError as error:
        await engine.record([events.ContainerUnpauseFailed(container.id, str(error))], job)
        raise
    await engine.record([events.ContainerUnpaused(container.id)], job)

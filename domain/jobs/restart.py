"""restart: stop when it runs, then start."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.jobs.start import perform_start
from docket.domain.jobs.stop import stop_container
from docket.domain.model.container import events
from docket.domain.model.container.commands import StartContainer


async def restart(engine: Engine, job: Job) -> None:
    """Restart the container that the first argument names."""
    container = engine.container(job.arguments[0])
    if container.alive:
        await stop_container(engine, job, container, job.request)
    decided = await engine.execute(StartContainer(container.id), job)
    starting = decided[0]
    assert isinstance(starting, events.ContainerStarting)
    await perform_start(engine, job, container, starting.run)
    await engine.record([events.ContainerRestarted(container.id)], job)

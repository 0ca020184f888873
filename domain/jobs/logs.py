"""logs: a container's output as it was written."""

from __future__ import annotations

from collections.abc import AsyncIterator

from docket.domain.engine import Engine, Job
from docket.domain.ports import LogEntry


async def logs(engine: Engine, job: Job) -> AsyncIterator[LogEntry]:
    """The pieces of output of the container that the first argument names, oldest first."""
    container = engine.container(job.arguments[0])
    return engine.ports.outputs.read(engine.ports.places.log(container.id))

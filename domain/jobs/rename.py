"""rename: give a container another name."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.model.container.commands import RenameContainer


async def rename(engine: Engine, job: Job) -> None:
    """Rename the container that the first argument names to the second."""
    await engine.execute(RenameContainer(job.arguments[0], job.arguments[1]), job)

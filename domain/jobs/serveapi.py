"""serveapi: serve the API until told to stop. Serving is a job like any other, so the log says when the engine served."""

from __future__ import annotations

from docket.domain.engine import Engine, Job


async def serveapi(engine: Engine, job: Job) -> None:
    """Run ``job.request``, the composed server, an asynchronous function without arguments."""
    await job.request()

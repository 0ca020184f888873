"""compact: seal old events of the log into archives, and drop the archives that are beyond the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docket.domain.compaction import Compact, Compacted

if TYPE_CHECKING:
    from docket.domain.engine import Engine, Job


async def compact(engine: Engine, job: Job) -> Compacted:
    """The job: ``job.request`` says how many events stay; by itself the engine asks when there are too many."""
    request: Compact | None = job.request
    done = await engine.compaction.run(job, request.keep if request is not None else None)
    engine.ports.report("info", "event log compacted", sealed=done.sealed, archives=done.archives, bytes=done.archived_bytes)
    return done

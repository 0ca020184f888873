"""How events change the set of open jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docket.domain.model.job import events
from docket.domain.model.job.state import OpenJob

if TYPE_CHECKING:
    from docket.domain.model.state import EngineState


def evolve(state: EngineState, event: events.JobEvent, time_ns: int) -> None:
    """Fold one job event into the state."""
    if isinstance(event, events.JobAccepted):
        state.jobs[event.job] = OpenJob(event.job, event.name, event.arguments, time_ns)
    else:
        state.jobs.pop(event.job, None)

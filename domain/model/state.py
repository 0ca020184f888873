"""Everything the engine knows: one fold of the whole log.

`evolve` is total (it accepts every event that any version wrote) and works in place; outside of it the state is read only. It
is used alike by live operation, recovery, time travel and tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from docket.domain.log import Event
from docket.domain.model.container import events as container_events
from docket.domain.model.container import evolve as container
from docket.domain.model.container.state import Container
from docket.domain.model.engine import events as engine_events
from docket.domain.model.engine import evolve as engine
from docket.domain.model.exec import events as exec_events
from docket.domain.model.exec import evolve as exec_
from docket.domain.model.exec.state import Exec
from docket.domain.model.image import events as image_events
from docket.domain.model.image import evolve as image
from docket.domain.model.image.state import Image
from docket.domain.model.job import events as job_events
from docket.domain.model.job import evolve as job
from docket.domain.model.job.state import OpenJob
from docket.domain.model.transfer import events as transfer_events
from docket.domain.model.transfer import evolve as transfer
from docket.domain.model.transfer.state import Transfer


class EngineState(msgspec.Struct):
    """The folded log."""

    position: int = 0
    """The position of the last event that was folded."""
    time_ns: int = 0
    engine: str = ""
    """The id of the data root."""
    containers: dict[str, Container] = {}
    names: dict[str, str] = {}
    """Container ids by name."""
    execs: dict[str, Exec] = {}
    images: dict[str, Image] = {}
    references: dict[str, str] = {}
    """Image ids by normalised reference."""
    jobs: dict[str, OpenJob] = {}
    transfers: dict[str, Transfer] = {}
    """Pulls and pushes that are under way, by the id of their job."""

    def replaced_by(self, newer: EngineState) -> EngineState:
        """``newer``, but with the containers and execs that were known before as the same objects: jobs hold on to them."""
        for mine, theirs in ((self.containers, newer.containers), (self.execs, newer.execs)):
            _keep_objects(mine, theirs)
        return newer


def _keep_objects(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    for key, value in theirs.items():
        known = mine.get(key)
        if known is not None:
            for field in known.__struct_fields__:
                setattr(known, field, getattr(value, field))
            theirs[key] = known


EVENT_TYPES: tuple[type[Event], ...] = (
    *engine_events.EVENTS,
    *container_events.EVENTS,
    *exec_events.EVENTS,
    *image_events.EVENTS,
    *job_events.EVENTS,
    *transfer_events.EVENTS,
)
"""Every event type that there is."""

_EVOLVERS: dict[type[Event], Callable[[EngineState, Any, int], None]] = {
    **dict.fromkeys(engine_events.EVENTS, engine.evolve),
    **dict.fromkeys(container_events.EVENTS, container.evolve),
    **dict.fromkeys(exec_events.EVENTS, exec_.evolve),
    **dict.fromkeys(image_events.EVENTS, image.evolve),
    **dict.fromkeys(job_events.EVENTS, job.evolve),
    **dict.fromkeys(transfer_events.EVENTS, transfer.evolve),
}


def evolve(state: EngineState, event: Event, time_ns: int, position: int) -> None:
    """Fold one event, which stands at ``position`` of the log and was appended at ``time_ns``."""
    state.position = position
    state.time_ns = time_ns
    _EVOLVERS[type(event)](state, event, time_ns)


def fold(events: Iterable[tuple[Event, int, int]], state: EngineState | None = None) -> EngineState:
    """Fold ``(event, time_ns, position)`` triples, onto ``state`` when one is given."""
    state = EngineState() if state is None else state
    for event, time_ns, position in events:
        evolve(state, event, time_ns, position)
    return state

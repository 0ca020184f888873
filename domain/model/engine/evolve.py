"""How events change what is known of the engine. Settings are not state: each start of the daemon brings its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docket.domain.model.engine import events

if TYPE_CHECKING:
    from docket.domain.model.state import EngineState


def evolve(state: EngineState, event: events.EngineEvent, time_ns: int) -> None:
    """Fold one event of the engine into the state."""
    if isinstance(event, events.EngineCreated) and not state.engine:
        state.engine = event.engine

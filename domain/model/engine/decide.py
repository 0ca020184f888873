"""What commands to the engine cause. Nothing is refused: settings were checked where they were read."""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.log import Event
from docket.domain.model.engine import events
from docket.domain.model.engine.commands import ReconfigureEngine
from docket.domain.model.engine.settings import RELOADABLE
from docket.domain.model.state import EngineState


def reconfigure(state: EngineState, command: ReconfigureEngine) -> Sequence[Event]:
    """Each reload is an event, also one that changes nothing: somebody asked for it."""
    changed = {name: getattr(command.settings, name) for name in RELOADABLE}
    return [events.EngineReconfigured(state.engine, **changed)]

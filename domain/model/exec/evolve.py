"""How events change an exec instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docket.domain.model.exec import events
from docket.domain.model.exec.state import ENDED_KEPT, TRANSITIONS, Exec, ExecStatus

if TYPE_CHECKING:
    from docket.domain.model.state import EngineState


def evolve(state: EngineState, event: events.ExecEvent, time_ns: int) -> None:
    """Fold one exec event into the state."""
    if isinstance(event, events.ExecCreated):
        _created(state, event)
        return
    instance = state.execs.get(event.exec)
    if instance is None:
        return
    instance.status = TRANSITIONS[instance.status].get(type(event), instance.status)
    if isinstance(event, events.ExecStarted):
        instance.pid, instance.start_time, instance.boot_id = event.pid, event.start_time, event.boot_id
    elif isinstance(event, events.ExecStartFailed):
        instance.exit_code, instance.error = event.exit_code, event.message
    elif isinstance(event, events.ExecExited):
        instance.exit_code, instance.error, instance.pid = event.exit_code, event.reason, 0


def _created(state: EngineState, event: events.ExecCreated) -> None:
    container = state.containers.get(event.container)
    if container is None:
        return
    state.execs[event.exec] = Exec(event.exec, event.container, event.spec)
    container.execs.append(event.exec)
    if len(container.execs) > ENDED_KEPT:
        _forget_oldest(state, container.execs)


def _forget_oldest(state: EngineState, execs: list[str]) -> None:
    ended = {ExecStatus.EXITED, ExecStatus.FAILED}
    oldest = next((key for key in execs if state.execs[key].status in ended), None)
    if oldest is not None:
        execs.remove(oldest)
        del state.execs[oldest]

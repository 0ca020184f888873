"""How events change a container. Total: an event that has no transition leaves the status as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from docket.domain.model.container import events
from docket.domain.model.container.state import TRANSITIONS, Container

if TYPE_CHECKING:
    from docket.domain.model.state import EngineState


def evolve(state: EngineState, event: events.ContainerEvent, time_ns: int) -> None:
    """Fold one container event into the state."""
    kind = type(event)
    if kind is events.ContainerCreated:
        _created(state, event, time_ns)  # type: ignore[arg-type]
        return
    container = state.containers.get(event.container)
    if container is None:
        return
    target = TRANSITIONS[container.status].get(kind)
    change = _CHANGES.get(kind)
    if change is not None:
        change(state, container, event, time_ns)
    if target is not None:
        container.status = target
    container.changed = state.position


def _created(state: EngineState, event: events.ContainerCreated, time_ns: int) -> None:
    state.containers[event.container] = Container(
        event.container, event.name, event.image_id, event.layers, event.spec, time_ns, changed=state.position
    )
    state.names[event.name] = event.container


def _renamed(state: EngineState, container: Container, event: events.ContainerRenamed, time_ns: int) -> None:
    if state.names.get(container.name) == container.id:
        del state.names[container.name]
    container.name = event.name
    state.names[event.name] = container.id


def _starting(state: EngineState, container: Container, event: events.ContainerStarting, time_ns: int) -> None:
    container.run = event.run


def _started(state: EngineState, container: Container, event: events.ContainerStarted, time_ns: int) -> None:
    container.pid = event.pid
    container.start_time = event.start_time
    container.boot_id = event.boot_id
    container.cgroup = event.cgroup
    container.apparmor = event.apparmor
    container.started_ns = time_ns
    container.finished_ns = 0
    container.exit_code = 0
    container.oom_killed = False
    container.error = ""
    container.drifted = ()
    _forget_execs(state, container)


def _start_failed(state: EngineState, container: Container, event: events.ContainerStartFailed, time_ns: int) -> None:
    container.exit_code = event.exit_code
    container.error = event.message


def _killing(state: EngineState, container: Container, event: events.ContainerKilling, time_ns: int) -> None:
    container.killing.append(event.signal)


def _kill_ended(
    state: EngineState, container: Container, event: events.ContainerKilled | events.ContainerKillFailed, time_ns: int
) -> None:
    if event.signal in container.killing:
        container.killing.remove(event.signal)


def _updating(state: EngineState, container: Container, event: events.ContainerUpdating, time_ns: int) -> None:
    container.updating = event.resources


def _updated(state: EngineState, container: Container, event: events.ContainerUpdated, time_ns: int) -> None:
    container.updating = None
    container.spec = msgspec.structs.replace(container.spec, resources=event.resources)


def _update_failed(state: EngineState, container: Container, event: events.ContainerUpdateFailed, time_ns: int) -> None:
    container.updating = None


def _committing(state: EngineState, container: Container, event: events.ContainerCommitting, time_ns: int) -> None:
    container.committing = True
    container.thaws = event.pauses


def _commit_ended(
    state: EngineState,
    container: Container,
    event: events.ContainerCommitted | events.ContainerCommitFailed,
    time_ns: int,
) -> None:
    container.committing = False
    container.thaws = False


def _exited(state: EngineState, container: Container, event: events.ContainerExited, time_ns: int) -> None:
    container.pid = 0
    container.killing = []
    container.exit_code = event.exit_code
    container.oom_killed = event.oom_killed
    container.error = event.reason
    container.finished_ns = time_ns


def _removed(state: EngineState, container: Container, event: events.ContainerRemoved, time_ns: int) -> None:
    del state.containers[container.id]
    if state.names.get(container.name) == container.id:
        del state.names[container.name]
    _forget_execs(state, container)


def _forget_execs(state: EngineState, container: Container) -> None:
    for exec_id in container.execs:
        state.execs.pop(exec_id, None)
    container.execs = []


def _remove_failed(state: EngineState, container: Container, event: events.ContainerRemoveFailed, time_ns: int) -> None:
    container.error = event.message


def _drifted(state: EngineState, container: Container, event: events.ContainerDrifted, time_ns: int) -> None:
    if event.run == container.run and event.what not in container.drifted:
        container.drifted = (*container.drifted, event.what)


_CHANGES: dict[type[events.ContainerEvent], Callable[[EngineState, Container, Any, int], None]] = {
    events.ContainerRenamed: _renamed,
    events.ContainerStarting: _starting,
    events.ContainerStarted: _started,
    events.ContainerStartFailed: _start_failed,
    events.ContainerKilling: _killing,
    events.ContainerKilled: _kill_ended,
    events.ContainerKillFailed: _kill_ended,
    events.ContainerUpdating: _updating,
    events.ContainerUpdated: _updated,
    events.ContainerUpdateFailed: _update_failed,
    events.ContainerCommitting: _committing,
    events.ContainerCommitted: _commit_ended,
    events.ContainerCommitFailed: _commit_ended,
    events.ContainerExited: _exited,
    events.ContainerDrifted: _drifted,
    events.ContainerRemoved: _removed,
    events.ContainerRemoveFailed: _remove_failed,
}

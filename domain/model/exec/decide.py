"""What becomes of a command on an exec instance."""

from __future__ import annotations

from docket.domain.errors import Conflict, InvalidArgument, Rejection
from docket.domain.model import texts
from docket.domain.model.container.decide import Unsettled, find_container
from docket.domain.model.container.state import Container, ContainerStatus
from docket.domain.model.exec import commands, events
from docket.domain.model.exec.state import ExecStatus
from docket.domain.model.state import EngineState

Decision = list[events.ExecEvent] | Rejection


def create(state: EngineState, command: commands.CreateExec) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if not command.spec.program:
        return InvalidArgument("No exec command specified")
    return _not_executable(container) or [events.ExecCreated(command.exec, container.id, command.spec)]


def start(state: EngineState, command: commands.StartExec) -> Decision:
    instance = state.execs.get(command.exec)
    if instance is None:
        return texts.no_such_exec(command.exec)
    if instance.status is not ExecStatus.CREATED:
        return Conflict(f"Error: Exec command {instance.id} has already run")
    container = state.containers[instance.container]
    return _not_executable(container) or [events.ExecStarting(instance.id, container.id)]


def _not_executable(container: Container) -> Rejection | None:
    if container.status in {ContainerStatus.RUNNING, ContainerStatus.STOPPING}:
        return None
    if container.status is ContainerStatus.PAUSED:
        return texts.paused(container.id)
    if container.unsettled:
        return Unsettled(f"container {container.id} is {container.status}", container.id)
    return texts.not_running(container.id)

"""What becomes of a command on a container, given everything that is known: events, or the reason why not.

An open intent (`Container.unsettled`) is no reason to refuse: `Unsettled` says that the command should be decided again after
the container's next event.
"""

from __future__ import annotations

from docket.domain.errors import Conflict, NotFound, NotModified, Rejection
from docket.domain.model import texts
from docket.domain.model.container import commands, events
from docket.domain.model.container.names import check_name, generate_name
from docket.domain.model.container.spec import updated
from docket.domain.model.container.state import Container, ContainerStatus
from docket.domain.model.image.state import ImageStatus
from docket.domain.model.state import EngineState

Decision = list[events.ContainerEvent] | Rejection


class Unsettled(Rejection, frozen=True):
    """An intent is open on ``container``; decide again after its outcome."""

    container: str = ""


def find_container(state: EngineState, reference: str) -> Container | NotFound:
    """The container that a full id, a name (with or without a slash) or a unique prefix of an id means."""
    found = state.containers.get(reference)
    if found is not None:
        return found
    named = state.names.get(reference.removeprefix("/"))
    if named is not None:
        return state.containers[named]
    matches = [key for key in state.containers if key.startswith(reference)] if reference else []
    if len(matches) == 1:
        return state.containers[matches[0]]
    return texts.ambiguous_container(reference) if matches else texts.no_such_container(reference)


def create(state: EngineState, command: commands.CreateContainer) -> Decision:
    name = command.name.removeprefix("/")
    if name:
        invalid = check_name(name)
        if invalid is not None:
            return invalid
        holder = state.names.get(name)
        if holder is not None:
            return texts.name_in_use(name, holder)
    else:
        name = generate_name(command.name_seed, state.names)
    image = state.images.get(command.image_id)
    if image is None or image.status is not ImageStatus.PRESENT:
        return texts.no_such_image(command.spec.image)
    return [events.ContainerCreated(command.container, name, command.image_id, command.layers, command.spec)]


def start(state: EngineState, command: commands.StartContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.allows(events.ContainerStarting):
        return [events.ContainerStarting(container.id, container.run + 1)]
    if container.status in {ContainerStatus.RUNNING, ContainerStatus.STOPPING}:
        return NotModified(f"container {container.id} is already running")
    if container.status is ContainerStatus.PAUSED:
        return texts.cannot_start_paused()
    if container.status is ContainerStatus.DEAD:
        return Conflict(f"container {container.id} is marked for removal and cannot be started")
    return _unsettled(container)


def kill(state: EngineState, command: commands.KillContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.allows(events.ContainerKilling):
        return [events.ContainerKilling(container.id, command.signal)]
    return _unsettled(container) if container.unsettled else texts.cannot_kill_stopped(command.container, container.id)


def stop(state: EngineState, command: commands.StopContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.allows(events.ContainerStopping):
        return [events.ContainerStopping(container.id, command.signal, command.timeout_seconds)]
    return _unsettled(container) if container.unsettled else NotModified(f"container {container.id} is not running")


def pause(state: EngineState, command: commands.PauseContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.allows(events.ContainerPausing):
        return [events.ContainerPausing(container.id)]
    if container.status is ContainerStatus.PAUSED:
        return texts.already_paused(container.id)
    if container.status is ContainerStatus.STOPPING:
        return Conflict(f"container {container.id} is being stopped and cannot be paused")
    return _unsettled(container) if container.unsettled else texts.not_running(container.id)


def unpause(state: EngineState, command: commands.UnpauseContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.allows(events.ContainerUnpausing):
        return [events.ContainerUnpausing(container.id)]
    return _unsettled(container) if container.unsettled else texts.not_paused(container.id)


def rename(state: EngineState, command: commands.RenameContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    name = command.name.removeprefix("/")
    invalid = check_name(name)
    if invalid is not None:
        return invalid
    if name == container.name:
        return Conflict("Renaming a container with the same name as its current name")
    holder = state.names.get(name)
    if holder is not None:
        return texts.name_in_use(name, holder)
    return [events.ContainerRenamed(container.id, name, container.name)]


def update(state: EngineState, command: commands.UpdateContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.status in {ContainerStatus.REMOVING, ContainerStatus.DEAD}:
        return Conflict(f"container {container.id} is marked for removal and cannot be updated")
    if container.unsettled or container.updating is not None:
        return _unsettled(container)
    wanted = updated(container.spec.resources, command.resources)
    return [(events.ContainerUpdating if container.alive else events.ContainerUpdated)(container.id, wanted)]


def commit(state: EngineState, command: commands.CommitContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.status is ContainerStatus.DEAD:
        return texts.cannot_commit_dead(container.id)
    if container.status is ContainerStatus.REMOVING:
        return texts.cannot_commit_removed(container.id)
    if container.unsettled or container.committing:
        return _unsettled(container)
    image = state.images.get(container.image_id)
    if image is None or image.status is not ImageStatus.PRESENT:
        return texts.no_such_image(container.image_id)
    pauses = command.pause and container.allows(events.ContainerPausing)
    decided: list[events.ContainerEvent] = [events.ContainerCommitting(container.id, pauses)]
    return [*decided, events.ContainerPausing(container.id)] if pauses else decided


def remove(state: EngineState, command: commands.RemoveContainer) -> Decision:
    container = find_container(state, command.container)
    if isinstance(container, Rejection):
        return container
    if container.committing:
        return _unsettled(container)  # what is being read must not go away
    if container.allows(events.ContainerRemoving):
        return [events.ContainerRemoving(container.id)]
    if container.status is ContainerStatus.REMOVING:
        return texts.removal_in_progress(container.id)
    if container.status is ContainerStatus.PAUSED:
        return texts.cannot_remove_paused(container.name, container.id)
    return _unsettled(container) if container.unsettled else texts.cannot_remove_running(container.name, container.id)


def _unsettled(container: Container) -> Unsettled:
    return Unsettled(f"container {container.id} is {container.status}", container.id)

"""The sentences that Docker clients match on, exactly as Docker's engine says them.

``docker run`` derives its exit code from the text of a failed start, scripts grep for "No such container": here, and only
here, the wording is Docker's. Everything else that docket says is its own.
"""

from __future__ import annotations

from docket.domain.errors import Conflict, InvalidArgument, NotFound, Unsupported


def no_such_container(reference: str) -> NotFound:
    return NotFound(f"No such container: {reference}")


def no_such_image(reference: str) -> NotFound:
    return NotFound(f"No such image: {reference}")


def manifest_not_found(reference: str, reason: str) -> NotFound:
    return NotFound(f"manifest for {reference} not found: {reason}")


def pull_access_denied(name: str, reason: str) -> NotFound:
    return NotFound(f"pull access denied for {name}, repository does not exist or may require 'docker login': {reason}")


def tag_does_not_exist(reference: str) -> NotFound:
    return NotFound(f"tag does not exist: {reference}")


def no_local_image(name: str) -> NotFound:
    return NotFound(f"An image does not exist locally with the tag: {name}")


def no_such_exec(exec_id: str) -> NotFound:
    return NotFound(f"No such exec instance: {exec_id}")


def exec_not_running(exec_id: str) -> Conflict:
    return Conflict(f"exec {exec_id} is not running")


def no_log_to_read() -> Unsupported:
    return Unsupported("configured logging driver does not support reading")


def ambiguous_container(prefix: str) -> NotFound:
    return NotFound(f"Multiple IDs found with provided prefix: {prefix}")


def name_in_use(name: str, holder: str) -> Conflict:
    return Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def not_running(container: str) -> Conflict:
    return Conflict(f"container {container} is not running")


def cannot_kill_stopped(reference: str, container: str) -> Conflict:
    return Conflict(f"cannot kill container: {reference}: container {container} is not running")


def paused(container: str) -> Conflict:
    return Conflict(f"Container {container} is paused, unpause the container before exec")


def cannot_start_paused() -> Conflict:
    return Conflict("cannot start a paused container, try unpause instead")


def already_paused(container: str) -> Conflict:
    return Conflict(f"Container {container} is already paused")


def not_paused(container: str) -> Conflict:
    return Conflict(f"Container {container} is not paused")


def cannot_remove_running(name: str, container: str) -> Conflict:
    return Conflict(
        f'cannot remove container "/{name}": container is running: stop the container before removing or force remove'
    )


def cannot_remove_paused(name: str, container: str) -> Conflict:
    return Conflict(f'cannot remove container "/{name}": container is paused and must be unpaused first')


def removal_in_progress(container: str) -> Conflict:
    return Conflict(f"removal of container {container} is already in progress")


def cannot_commit_dead(container: str) -> Conflict:
    return Conflict(f"You cannot commit container {container} which is Dead")


def cannot_commit_removed(container: str) -> Conflict:
    return Conflict(f"You cannot commit container {container} which is being removed")


def missing_bind_source(path: str) -> InvalidArgument:
    return InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {path}')


def start_failed(message: str) -> str:
    """The frame around a failed start; the exit code 126 or 127 is read from what stands inside it."""
    return (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"unable to start container process: {message}"
    )


def executable_not_found(name: str) -> str:
    return f'exec: "{name}": executable file not found in $PATH: unknown'


def no_such_executable(path: str) -> str:
    return f'exec: "{path}": stat {path}: no such file or directory: unknown'


def executable_denied(path: str) -> str:
    return f'exec: "{path}": permission denied: unknown'


def is_a_directory(path: str) -> str:
    return f'exec: "{path}": is a directory: unknown'

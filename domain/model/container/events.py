"""What can happen to a container. An intent is a participle in -ing and comes before the first effect."""

from __future__ import annotations

from typing import ClassVar

from docket.domain.log import Event
from docket.domain.model.container.spec import ContainerSpec, Resources


class ContainerEvent(Event, frozen=True, gc=False):
    """An event of the stream ``container-<id>``."""

    container: str

    @property
    def stream(self) -> str:
        return f"container-{self.container}"


class ContainerCreated(ContainerEvent, frozen=True, gc=False):
    opens_stream: ClassVar[bool] = True

    name: str
    image_id: str
    layers: tuple[str, ...]
    """The diff ids of the image's layers, lowest first."""
    spec: ContainerSpec


class ContainerRenamed(ContainerEvent, frozen=True, gc=False):
    name: str
    old_name: str


class ContainerStarting(ContainerEvent, frozen=True, gc=False):
    """Intent: the container's plan is about to be performed for the ``run``-th time."""

    run: int


class ContainerStarted(ContainerEvent, frozen=True, gc=False):
    """The first process runs. ``boot_id`` and ``start_time`` (clock ticks after boot) say which process ``pid`` was (S15)."""

    run: int
    pid: int
    start_time: int
    boot_id: str
    cgroup: str = ""
    capabilities: int = 0
    """The bounding set that was in force, as a mask (S58)."""
    no_new_privileges: bool = False
    seccomp: str = ""
    """The digest of the filter that was loaded; empty when unconfined."""
    privileged: bool = False
    apparmor: str = ""
    """The AppArmor profile that execve applied; empty without one."""
    user_namespace: bool = False
    """Whether its users are others on the host: the ids are those of `ContainerCreated`."""


class ContainerStartFailed(ContainerEvent, frozen=True, gc=False, omit_defaults=True):
    """The plan failed at ``operation`` and was undone."""

    run: int
    operation: str
    message: str
    syscall: str = ""
    errno: int = 0
    exit_code: int = 128


class ContainerKilling(ContainerEvent, frozen=True, gc=False):
    """Intent: ``signal`` is about to be sent."""

    signal: int


class ContainerKilled(ContainerEvent, frozen=True, gc=False):
    """``signal`` was sent; the process may well live on."""

    signal: int


class ContainerKillFailed(ContainerEvent, frozen=True, gc=False):
    signal: int
    message: str


class ContainerStopping(ContainerEvent, frozen=True, gc=False):
    """Intent: ``signal`` now, SIGKILL after ``timeout_seconds`` (-1: never)."""

    signal: int
    timeout_seconds: int


class ContainerStopped(ContainerEvent, frozen=True, gc=False):
    """A stop that was asked for has come to its end; `ContainerExited` tells how."""


class ContainerStopFailed(ContainerEvent, frozen=True, gc=False):
    message: str


class ContainerRestarted(ContainerEvent, frozen=True, gc=False):
    """A restart that was asked for is complete."""


class ContainerPausing(ContainerEvent, frozen=True, gc=False):
    pass


class ContainerPaused(ContainerEvent, frozen=True, gc=False):
    pass


class ContainerPauseFailed(ContainerEvent, frozen=True, gc=False):
    message: str


class ContainerUnpausing(ContainerEvent, frozen=True, gc=False):
    pass


class ContainerUnpaused(ContainerEvent, frozen=True, gc=False):
    pass


class ContainerUnpauseFailed(ContainerEvent, frozen=True, gc=False):
    message: str


class ContainerUpdating(ContainerEvent, frozen=True, gc=False):
    """Intent: the running container is about to get other limits."""

    resources: Resources


class ContainerUpdated(ContainerEvent, frozen=True, gc=False):
    """The container has other limits; one that does not run gets them when it starts."""

    resources: Resources


class ContainerUpdateFailed(ContainerEvent, frozen=True, gc=False):
    """The limits are what they were."""

    message: str


class ContainerOutOfMemory(ContainerEvent, frozen=True, gc=False):
    """The kernel killed in the container for memory; told when its first process has ended."""

    run: int


class ContainerExited(ContainerEvent, frozen=True, gc=False, omit_defaults=True):
    """The first process ended: ``exit_code`` is its status, or 128 + the signal that killed it."""

    run: int
    exit_code: int
    oom_killed: bool = False
    reason: str = ""
    """Why the end is known otherwise than by waiting for the process: a reboot, a lost shim."""


class ContainerDrifted(ContainerEvent, frozen=True, gc=False):
    """The running process has lost what it was started with, behind the engine's back: its ``cgroup``, or a ``mount``."""

    run: int
    what: str
    message: str


class ContainerCommitting(ContainerEvent, frozen=True, gc=False):
    """Intent: an image is about to be made of the container's writable layer; ``pauses`` if it is frozen meanwhile."""

    pauses: bool = False


class ContainerCommitted(ContainerEvent, frozen=True, gc=False):
    """The image ``image`` holds what the writable layer held; ``reference`` is what it was called, if anything."""

    image: str
    reference: str = ""
    comment: str = ""


class ContainerCommitFailed(ContainerEvent, frozen=True, gc=False):
    """No image was made."""

    message: str


class ContainerRemoving(ContainerEvent, frozen=True, gc=False):
    """Intent: everything the container has is about to be deleted."""


class ContainerRemoved(ContainerEvent, frozen=True, gc=False):
    pass


class ContainerRemoveFailed(ContainerEvent, frozen=True, gc=False):
    message: str


EVENTS: tuple[type[ContainerEvent], ...] = (
    ContainerCreated,
    ContainerRenamed,
    ContainerStarting,
    ContainerStarted,
    ContainerStartFailed,
    ContainerKilling,
    ContainerKilled,
    ContainerKillFailed,
    ContainerStopping,
    ContainerStopped,
    ContainerStopFailed,
    ContainerRestarted,
    ContainerPausing,
    ContainerPaused,
    ContainerPauseFailed,
    ContainerUnpausing,
    ContainerUnpaused,
    ContainerUnpauseFailed,
    ContainerUpdating,
    ContainerUpdated,
    ContainerUpdateFailed,
    ContainerOutOfMemory,
    ContainerExited,
    ContainerDrifted,
    ContainerCommitting,
    ContainerCommitted,
    ContainerCommitFailed,
    ContainerRemoving,
    ContainerRemoved,
    ContainerRemoveFailed,
)

"""What a container is: one status out of one table, and the facts that its events told.

The table is the whole life cycle. A command is allowed when the event it would cause has a transition from the present
status; `evolve` uses the same table, so what is decided and what is folded cannot disagree. `ContainerRemoved` ends the
container: it has no status afterwards.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from docket.domain.model.container import events
from docket.domain.model.container.spec import ContainerSpec, Resources


class ContainerStatus(StrEnum):
    CREATED = "created"
    STARTING = "starting"
    """The first start is under way."""
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    UNPAUSING = "unpausing"
    STOPPING = "stopping"
    EXITED = "exited"
    RESTARTING = "restarting"
    """A container that has run before is being started again."""
    REMOVING = "removing"
    DEAD = "dead"
    """A removal failed half-way; only another removal is possible."""


S = ContainerStatus

TRANSITIONS: dict[ContainerStatus, dict[type[events.ContainerEvent], ContainerStatus]] = {
    S.CREATED: {
        events.ContainerStarting: S.STARTING,
        events.ContainerRemoving: S.REMOVING,
    },
    S.STARTING: {
        events.ContainerStarted: S.RUNNING,
        events.ContainerStartFailed: S.CREATED,
    },
    S.RUNNING: {
        events.ContainerExited: S.EXITED,
        events.ContainerKilling: S.RUNNING,
        events.ContainerStopping: S.STOPPING,
        events.ContainerPausing: S.PAUSING,
    },
    S.PAUSING: {
        events.ContainerPaused: S.PAUSED,
        events.ContainerPauseFailed: S.RUNNING,
        events.ContainerExited: S.EXITED,
    },
    S.PAUSED: {
        events.ContainerUnpausing: S.UNPAUSING,
        events.ContainerKilling: S.PAUSED,
        events.ContainerStopping: S.STOPPING,
        events.ContainerExited: S.EXITED,
    },
    S.UNPAUSING: {
        events.ContainerUnpaused: S.RUNNING,
        events.ContainerUnpauseFailed: S.PAUSED,
        events.ContainerExited: S.EXITED,
    },
    S.STOPPING: {
        events.ContainerExited: S.EXITED,
        events.ContainerKilling: S.STOPPING,
        events.ContainerStopping: S.STOPPING,
        events.ContainerStopFailed: S.RUNNING,
    },
    S.EXITED: {
        events.ContainerStarting: S.RESTARTING,
        events.ContainerRemoving: S.REMOVING,
    },
    S.RESTARTING: {
        events.ContainerStarted: S.RUNNING,
        events.ContainerStartFailed: S.EXITED,
    },
    S.REMOVING: {
        events.ContainerRemoveFailed: S.DEAD,
    },
    S.DEAD: {
        events.ContainerRemoving: S.REMOVING,
    },
}
"""What each status allows, and where it leads."""

UNSETTLED = frozenset({S.STARTING, S.RESTARTING, S.PAUSING, S.UNPAUSING, S.REMOVING})
"""An intent is open: its outcome comes soon, and most commands wait for it."""

ALIVE = frozenset({S.RUNNING, S.PAUSING, S.PAUSED, S.UNPAUSING, S.STOPPING})
"""The container has a first process."""


class Container(msgspec.Struct):
    """The folded state of one container. Only `evolve` writes to it."""

    id: str
    name: str
    image_id: str
    layers: tuple[str, ...]
    spec: ContainerSpec
    created_ns: int
    status: ContainerStatus = S.CREATED
    run: int = 0
    """How many starts were attempted."""
    pid: int = 0
    start_time: int = 0
    boot_id: str = ""
    cgroup: str = ""
    apparmor: str = ""
    """The AppArmor profile of its last start."""
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    execs: list[str] = []
    killing: list[int] = []
    """Signals that are about to be sent: intents of `ContainerKilling` that are open."""
    updating: Resources | None = None
    """The limits that it is about to get: the intent of `ContainerUpdating` is open."""
    committing: bool = False
    """An image is being made of it: the intent of `ContainerCommitting` is open."""
    thaws: bool = False
    """That commit has frozen it, and thaws it in the end."""
    drifted: tuple[str, ...] = ()
    """What the present run has lost behind the engine's back."""
    changed: int = 0
    """The position of the last event that changed it."""

    @property
    def alive(self) -> bool:
        return self.status in ALIVE

    @property
    def unsettled(self) -> bool:
        return self.status in UNSETTLED

    def allows(self, event: type[events.ContainerEvent]) -> bool:
        return event in TRANSITIONS[self.status]

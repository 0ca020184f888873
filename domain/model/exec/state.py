"""What an exec instance is."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from docket.domain.model.exec import events
from docket.domain.model.exec.events import ExecSpec


class ExecStatus(StrEnum):
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    FAILED = "failed"


S = ExecStatus

TRANSITIONS: dict[ExecStatus, dict[type[events.ExecEvent], ExecStatus]] = {
    S.CREATED: {events.ExecStarting: S.STARTING},
    # A disk that was full may have refused the start of a process whose end got into the log.
    S.STARTING: {events.ExecStarted: S.RUNNING, events.ExecStartFailed: S.FAILED, events.ExecExited: S.EXITED},
    S.RUNNING: {events.ExecExited: S.EXITED},
    S.EXITED: {},
    S.FAILED: {},
}

ENDED_KEPT = 32
"""How many ended exec instances a container keeps for clients that ask for an exit code; older ones are in the log."""


class Exec(msgspec.Struct):
    """The folded state of one exec instance. Only `evolve` writes to it."""

    id: str
    container: str
    spec: ExecSpec
    status: ExecStatus = S.CREATED
    pid: int = 0
    start_time: int = 0
    boot_id: str = ""
    exit_code: int | None = None
    error: str = ""

    @property
    def alive(self) -> bool:
        return self.status is ExecStatus.RUNNING

    @property
    def running(self) -> bool:
        return self.status is S.RUNNING

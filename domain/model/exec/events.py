"""What can happen to an exec instance."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from docket.domain.log import Event


class ExecSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an exec runs. ``arguments`` and ``environment`` name secrets: what they stand for is not in the log (S54)."""

    arguments: str
    environment: str = ""
    program: str = ""
    """The first argument, which is no secret: what error texts and lists show."""
    user: str = ""
    working_directory: str = ""
    terminal: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    privileged: bool = False
    detach_keys: str = ""
    console_size: tuple[int, int] = (0, 0)


class ExecEvent(Event, frozen=True, gc=False):
    """An event of the stream ``exec-<id>``."""

    exec: str
    container: str

    @property
    def stream(self) -> str:
        return f"exec-{self.exec}"


class ExecCreated(ExecEvent, frozen=True, gc=False):
    opens_stream: ClassVar[bool] = True

    spec: ExecSpec


class ExecStarting(ExecEvent, frozen=True, gc=False):
    pass


class ExecStarted(ExecEvent, frozen=True, gc=False):
    pid: int
    start_time: int
    boot_id: str


class ExecStartFailed(ExecEvent, frozen=True, gc=False, omit_defaults=True):
    operation: str
    message: str
    syscall: str = ""
    errno: int = 0
    exit_code: int = 126


class ExecExited(ExecEvent, frozen=True, gc=False, omit_defaults=True):
    exit_code: int
    reason: str = ""


EVENTS: tuple[type[ExecEvent], ...] = (ExecCreated, ExecStarting, ExecStarted, ExecStartFailed, ExecExited)

"""What can be asked of an exec instance."""

from __future__ import annotations

import msgspec

from docket.domain.model.exec.events import ExecSpec


class CreateExec(msgspec.Struct, frozen=True):
    exec: str
    container: str
    spec: ExecSpec


class StartExec(msgspec.Struct, frozen=True):
    exec: str


ExecCommand = CreateExec | StartExec

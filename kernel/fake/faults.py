"""Faults: which step of the fake kernel fails or is the engine's last, and the trace of all steps.

A step is one operation of a plan (undos too) or one call of the port. Each fault strikes once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from docket.domain.plan.operations import Operation
from docket.kernel.fake.linux_errno import CallFailed, name_of


class SimulatedCrash(BaseException):
    """The engine was killed here. Not an `Exception`, since no handler of the engine's would have run either."""


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong at step ``at`` (from 1) of those that ``of`` names: an operation type, a port call, or "" for operations."""

    at: int
    of: str = ""
    errno: int = 0
    crash: Literal["", "before", "after"] = ""
    shim_survives: bool = False
    """The engine is killed alone: the shim goes on with its plan, and the crash is raised when that is through."""


def fail(at: int, errno: int, of: str = "") -> Fault:
    """The step fails with an error number."""
    return Fault(at, of, errno)


def crash_before(at: int, of: str = "", *, shim_survives: bool = False) -> Fault:
    """The engine is killed just before the step."""
    return Fault(at, of, crash="before", shim_survives=shim_survives)


def crash_after(at: int, of: str = "", *, shim_survives: bool = False) -> Fault:
    """The engine is killed just after the step."""
    return Fault(at, of, crash="after", shim_survives=shim_survives)


class Step(msgspec.Struct):
    """One entry of the trace. ``outcome`` is ``ok``, an errno's name, or ``crash``."""

    number: int
    key: str
    kind: str
    what: str
    outcome: str = "ok"

    def __str__(self) -> str:
        return f"{self.number:4} {self.kind:20} {self.what}{'' if self.outcome == 'ok' else f'  [{self.outcome}]'}"


class Faults:
    """Numbers the steps, keeps them, and strikes."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._counts: dict[str, int] = {}
        self._operations = 0
        self.trace: list[Step] = []
        self.pending_crash = False
        """A crash has struck that a shim survives: the call raises it when the shim is through."""

    def add(self, *faults: Fault) -> None:
        """More faults; their steps are counted from the kernel's beginning."""
        self._faults.extend(faults)

    @property
    def operations(self) -> int:
        """How many operations have been begun."""
        return self._operations

    def begin(self, key: str, operation: Operation | str, what: str = "", syscall: str = "") -> tuple[Step, bool]:
        """A step begins: ``(its trace entry, whether a crash follows it)``. Raises `CallFailed` or `SimulatedCrash`."""
        kind = operation if isinstance(operation, str) else type(operation).__name__
        text = what if isinstance(operation, str) else operation.describe()
        step = Step(len(self.trace) + 1, key, kind, text)
        self.trace.append(step)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if not isinstance(operation, str):
            self._operations += 1
        fault = self._strike(kind, isinstance(operation, str))
        if fault is None:
            return step, False
        if fault.errno:
            raise self.failed(step, CallFailed(syscall or kind.lower(), fault.errno, ""))
        if fault.shim_survives:
            self.pending_crash = True
            return step, False
        if fault.crash == "before":
            step.outcome = "crash"
            raise SimulatedCrash(f"before {text}")
        return step, True

    def finish(self, step: Step, crash: bool) -> None:
        """A step succeeded. Raises `SimulatedCrash` when the engine does not live to see it."""
        if crash:
            step.outcome = "crash"
            raise SimulatedCrash(f"after {step.what}")

    def survived(self) -> None:
        """The shim is through. Raises the `SimulatedCrash` that struck meanwhile."""
        if self.pending_crash:
            self.pending_crash = False
            raise SimulatedCrash("while a shim carried on")

    def failed(self, step: Step, failure: CallFailed) -> CallFailed:
        """Note in the trace that a step failed."""
        step.outcome = name_of(failure.errno)
        return failure

    def _strike(self, kind: str, call: bool) -> Fault | None:
        for fault in self._faults:
            count = self._counts[kind] if fault.of else self._operations
            if fault.at == count and (fault.of == kind or (not fault.of and not call)):
                self._faults.remove(fault)
                return fault
        return None

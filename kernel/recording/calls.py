"""Calls of the kernel port in the form that a recording keeps: what both the recording and the replaying side write down."""

from __future__ import annotations

from typing import Any

import msgspec

from docket.domain.errors import KernelError, PortError
from docket.domain.plan.operations import Clone, Execve, OperationResult, Plan
from docket.domain.ports import Attachment, Found, Launch, LaunchFailed, ProcessRow
from docket.kernel.recording.format import Call, CallError, OperationLine, RecordingInvalid, decode_operation
from docket.kernel.recording.symbols import Symbols


def launch_arguments(launch: Launch) -> dict[str, Any]:
    """A launch without its plan, environment, arguments and clients' bytes."""
    return {
        "directory": launch.directory,
        "exit_file": launch.exit_file,
        "terminal": launch.terminal,
        "stdin": launch.stdin,
        "stdin_once": launch.stdin_once,
        "log": msgspec.to_builtins(launch.log),
        "cgroup": launch.cgroup,
        "run": launch.run,
        "phases": [len(launch.plan.prepare), len(launch.plan.settle)],
        "attachments": [attachment_arguments(attachment) for attachment in launch.attachments],
    }


def attachment_arguments(attachment: Attachment) -> dict[str, Any]:
    """How a client is attached."""
    return {
        "stdin": attachment.stdin,
        "stdout": attachment.stdout,
        "stderr": attachment.stderr,
        "multiplexed": attachment.multiplexed,
    }


def recorded_plan(call: Call) -> Plan:
    """The plan of a recorded launch; process ids in it are zeros. Raises `RecordingInvalid`."""
    try:
        operations = [decode_operation(line.operation) for line in call.operations if line.operation]
        before, after = msgspec.convert(call.arguments.get("phases"), tuple[int, int])
    except msgspec.ValidationError as error:
        raise RecordingInvalid(f"recording line {call.line}: {error}") from None
    rest = operations[max(before, 0) :]
    if not rest or not isinstance(rest[0], Clone) or not 0 <= after < len(rest):
        raise RecordingInvalid(f"recording line {call.line}: a launch whose plan makes no process")
    return Plan(tuple(operations[:before]), rest[0], tuple(rest[1 : after + 1]), tuple(rest[after + 1 :]))


def recorded_results(call: Call, plan: Plan) -> tuple[OperationResult, ...]:
    """The results of the plan's operations that were begun, and of undos that failed."""
    results = []
    operations = iter(plan.operations())
    for line in call.operations:
        what = next(operations).describe() if line.operation else "undo"
        if line.begun:
            results.append(OperationResult(what, line.errno, line.duration_ns, line.syscall, line.path, line.value))
    return tuple(results)


def launch_operations(launch: Launch, symbols: Symbols) -> tuple[OperationLine, ...]:
    """The plan's operations, without results."""
    return tuple(OperationLine(symbols.symbolised(operation), begun=False) for operation in launch.plan.operations())


def performed_operations(
    launch: Launch, symbols: Symbols, results: tuple[OperationResult, ...], *, failed: bool
) -> tuple[OperationLine, ...]:
    """The plan's operations with what became of them. One that no result tells of was done if the launch succeeded."""
    operations = launch.plan.operations()
    form = symbols.symbolised
    if not failed and len(results) == len(operations):
        return tuple(
            OperationLine(form(operation), True, result.errno, result.syscall, result.path, result.value, result.duration_ns)
            for operation, result in zip(operations, results, strict=True)
        )
    secret = hides_arguments(launch.plan)
    done = []
    pending = list(results)
    for operation in operations:
        if not pending or pending[0].operation != operation.describe():
            done.append(OperationLine(form(operation), not failed))
            continue
        told = pending.pop(0)
        path = "" if secret and isinstance(operation, Execve) else told.path
        done.append(OperationLine(form(operation), True, told.errno, told.syscall, path, told.value, told.duration_ns))
    undone = (OperationLine([], True, r.errno, r.syscall, r.path, r.value, r.duration_ns) for r in pending)
    return (*done, *undone)


def hides_arguments(plan: Plan) -> bool:
    """Whether the plan's command is handed over beside it: then not even its name is kept."""
    return any(isinstance(operation, Execve) and not operation.args for operation in plan.inside[-1:])


def result_form(result: object, symbols: Symbols) -> Any:
    """What a call returned, as JSON values with symbols."""
    if isinstance(result, Found):
        return {"identity": symbols.identity(result.identity), "exit": msgspec.to_builtins(result.exit)}
    if isinstance(result, tuple):
        return [_row(row, symbols) if isinstance(row, ProcessRow) else msgspec.to_builtins(row) for row in result]
    return msgspec.to_builtins(result)


def _row(row: ProcessRow, symbols: Symbols) -> dict[str, Any]:
    """A process's row. Its command line is left out: arguments may be secrets."""
    form: dict[str, Any] = msgspec.to_builtins(row)
    return {**form, "pid": symbols.of("row", row.pid), "parent": symbols.of("row", row.parent), "command": ""}


def error_form(error: PortError, *, secret: bool) -> CallError:
    """A failure's description; of a ``secret`` command the name is left out."""
    if isinstance(error, KernelError):
        kind = "launch" if isinstance(error, LaunchFailed) else "kernel"
        path = "" if secret and error.syscall == "execve" else error.path
        return CallError(kind, error.operation, error.syscall, error.errno, path, error.reason)  # type: ignore[arg-type]
    return CallError("unavailable", reason=str(error))

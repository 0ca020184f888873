"""A recording: one JSON object a line, the first one versioned, made to be compared with `diff`.

    {"recording":1,"host":{…},"job":{"id":"…","name":"start","arguments":["…"]},"boot_id":"…","places":{…},"files":{…}}
    {"call":"launch","key":"…","arguments":{…},"position":41}
    {"operation":["MakeDirectory","/run/…",456],"errno":0,"syscall":"","path":"","value":"","duration_ns":1200}
    {"end":"return","result":{"pid":"$pid1","start_time":"$start1","boot_id":"$boot1"},"duration_ns":90000}

A call is followed by its operations, and ends with ``return``, ``error`` or ``cancelled``. Process ids, start times and boot ids
are symbols, numbered as they first appear; ``boot_id`` is what ``$boot1`` stands for. ``position`` is that of the last event that
the engine had folded when it made the call. A seccomp filter is kept as its digest. Of environments, of arguments handed over
beside a plan, and of clients' bytes there is nothing: they may be secrets (S54). Reading is strict, since a recording may come from
anywhere (S57).
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from docket.domain.plan.operations import AnyOperation
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import HostFacts

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()

VERSION: Literal[1] = 1
MAX_BYTES = 8 << 20
MAX_LINES = 50_000
MAX_LINE_BYTES = 1 << 20


class RecordingInvalid(Exception):
    """Bytes that are no recording of this version; the text says where and why."""


class RecordedJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose calls these are. ``request`` is what the API asked for beside the arguments, as far as it holds no secret."""

    id: str
    name: str
    arguments: tuple[str, ...] = ()
    request: Any = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: the job, and everything around it that its plan depends on."""

    recording: Literal[1]
    host: HostFacts
    job: RecordedJob = RecordedJob("", "")
    boot_id: str = ""
    places: Places = Places("", "")
    files: HostFiles = HostFiles()


class OperationLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One operation of a launch or a release with its result, in the form of `Symbols.symbolised`.

    ``begun`` is False behind a failed one. An empty ``operation`` tells of an undo that failed.
    """

    operation: list[Any]
    begun: bool = True
    errno: int = 0
    syscall: str = ""
    path: str = ""
    value: str = ""
    duration_ns: int = 0


class CallError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a call failed: a `KernelError`'s fields, or the text of another `PortError`."""

    kind: Literal["kernel", "launch", "unavailable"]
    operation: str = ""
    syscall: str = ""
    errno: int = 0
    path: str = ""
    reason: str = ""


class Call(msgspec.Struct, frozen=True):
    """One call with everything that came of it."""

    name: str
    key: str
    arguments: dict[str, Any]
    operations: tuple[OperationLine, ...] = ()
    result: Any = None
    error: CallError | None = None
    cancelled: bool = False
    duration_ns: int = 0
    line: int = 0
    position: int = 0


class _CallLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    call: Literal[
        "exists",
        "devices",
        "remains",
        "launch",
        "find",
        "exited",
        "release",
        "signal",
        "configure",
        "freeze",
        "thaw",
        "attach",
        "resize",
        "processes",
        "statistics",
    ]
    key: str
    arguments: dict[str, Any]
    position: int = 0


class _EndLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    end: Literal["return", "error", "cancelled"]
    result: Any = None
    error: CallError | None = None
    duration_ns: int = 0


def encode_header(header: Header) -> bytes:
    """The first line."""
    return msgspec.json.encode(header) + b"\n"


def encode_call(call: Call) -> bytes:
    """The lines of one call."""
    end: Literal["return", "error", "cancelled"] = "cancelled" if call.cancelled else "error" if call.error else "return"
    lines = (
        _CallLine(call.name, call.key, call.arguments, call.position),  # type: ignore[arg-type]
        *call.operations,
        _EndLine(end, call.result, call.error, call.duration_ns),
    )
    return _ENCODER.encode_lines(lines)


def decode(data: bytes) -> tuple[Header, list[Call]]:
    """Read a whole recording. Raises `RecordingInvalid`, and nothing else, for bytes that are none."""
    if len(data) > MAX_BYTES:
        raise RecordingInvalid(f"recording: {len(data)} bytes are more than {MAX_BYTES}")
    lines = data.split(b"\n")
    if lines.pop() != b"":
        raise RecordingInvalid(f"recording line {len(lines) + 1}: is cut off")
    if not lines or len(lines) > MAX_LINES:
        raise RecordingInvalid(f"recording: {len(lines)} lines; between 1 and {MAX_LINES} are expected")
    header = _line(lines[0], 1, Header)
    calls: list[Call] = []
    position = 1
    while position < len(lines):
        call, position = _call(lines, position)
        calls.append(call)
    return header, calls


def _call(lines: list[bytes], position: int) -> tuple[Call, int]:
    """The call that begins at a position, and the position behind it."""
    start = position
    head = _line(lines[start], start + 1, _CallLine)
    operations = []
    while True:
        position += 1
        if position == len(lines):
            raise RecordingInvalid(f"recording line {position}: the call {head.call} has no end")
        if lines[position].startswith(b'{"end"'):
            break
        line = _line(lines[position], position + 1, OperationLine)
        try:
            if line.operation:
                line = msgspec.structs.replace(line, operation=_as_now(line.operation))
        except msgspec.ValidationError as error:
            raise RecordingInvalid(f"recording line {position + 1}: {error}") from None
        operations.append(line)
    end = _line(lines[position], position + 1, _EndLine)
    if (end.end == "error") != (end.error is not None):
        raise RecordingInvalid(f"recording line {position + 1}: an error without its description, or the reverse")
    cancelled = end.end == "cancelled"
    call = Call(
        head.call, head.key, head.arguments, tuple(operations), end.result, end.error, cancelled, end.duration_ns, start + 1,
        head.position,
    )  # fmt: skip
    return call, position + 1


def _line(line: bytes, number: int, kind: type[T]) -> T:
    if len(line) > MAX_LINE_BYTES:
        raise RecordingInvalid(f"recording line {number}: {len(line)} bytes are more than {MAX_LINE_BYTES}")
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingInvalid(f"recording line {number}: {error}") from None


_OF_A_PROCESS = (["JoinNamespaces"], ["JoinUsers"])
"""Operations whose first fields are the pid and the start time of a process: symbols, in a recording."""


def _as_now(form: list[Any]) -> list[Any]:
    """The form of an operation with the fields that its type has now, at their defaults where the recording has none."""
    now: list[Any] = msgspec.to_builtins(decode_operation(form))
    if form[:1] in _OF_A_PROCESS:
        now[1:3] = form[1:3]
    return now


def decode_operation(form: list[Any]) -> AnyOperation:
    """The operation of a line, its symbols as zeros. Raises `msgspec.ValidationError`."""
    plain = [0 if index in (1, 2) and form[:1] in _OF_A_PROCESS else item for index, item in enumerate(form)]
    operation: AnyOperation = msgspec.convert(plain, type=AnyOperation)
    return operation

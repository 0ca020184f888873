"""From a recording's JSON values and symbols to the values that the port returns. Every number is made up, and always the same."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from docket.domain.ports import Exit, Found, ProcessIdentity, ProcessRow
from docket.kernel.recording.format import RecordingInvalid
from docket.kernel.recording.symbols import Symbols

T = TypeVar("T")

_FIRST_PID = 1_000_000
_FIRST_ROW = 2_000_000
_MAX_DIGITS = 6


class _Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pid: str
    start_time: str
    boot_id: str


class _Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: _Identity | None
    exit: Exit | None


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pid: str
    parent: str
    uid: int
    command: str
    start_time_ns: int
    cpu_ns: int
    terminal: str


class Values:
    """Gives values to a recording's symbols. All methods raise `RecordingInvalid`; ``line`` is what they name then."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols

    def plain(self, form: Any, kind: type[T], line: int) -> T:
        """A result that has no symbols."""
        try:
            return msgspec.convert(form, type=kind)
        except msgspec.ValidationError as error:
            raise RecordingInvalid(f"recording line {line}: {error}") from None

    def identity(self, form: Any, line: int) -> ProcessIdentity | None:
        """A process."""
        return self._identity(self.plain(form, _Identity | None, line), line)  # type: ignore[arg-type]

    def found(self, form: Any, line: int) -> Found:
        """The answer of `find`."""
        told = self.plain(form, _Found, line)
        return Found(self._identity(told.identity, line), told.exit)

    def rows(self, form: Any, line: int) -> tuple[ProcessRow, ...]:
        """The answer of `processes`; recordings hold no command lines."""
        rows: tuple[_Row, ...] = self.plain(form, tuple[_Row, ...], line)
        return tuple(
            ProcessRow(
                _FIRST_ROW + _number(row.pid, "row", line),
                _FIRST_ROW + _number(row.parent, "row", line),
                row.uid,
                row.command,
                row.start_time_ns,
                row.cpu_ns,
                row.terminal,
            )
            for row in rows
        )

    def _identity(self, told: _Identity | None, line: int) -> ProcessIdentity | None:
        if told is None:
            return None
        number = _number(told.pid, "pid", line)
        if _number(told.start_time, "start", line) != number:
            raise RecordingInvalid(f"recording line {line}: {told.pid} and {told.start_time} are not one process")
        _number(told.boot_id, "boot", line)
        known = self._symbols.value(told.pid)
        if known is None:
            known = (_FIRST_PID + number, number)
            self._symbols.bind("pid", known, told.pid)
        boot = self._symbols.value(told.boot_id)
        if boot is None:
            boot = told.boot_id
            self._symbols.bind("boot", boot, told.boot_id)
        assert isinstance(known, tuple)
        return ProcessIdentity(known[0], known[1], str(boot))


def _number(symbol: str, kind: str, line: int) -> int:
    digits = symbol.removeprefix(f"${kind}")
    if not symbol.startswith(f"${kind}") or not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise RecordingInvalid(f"recording line {line}: {symbol!r} is no symbol of kind {kind}")
    return int(digits)

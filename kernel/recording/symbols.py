"""Symbols in place of what differs from one run to the next: process ids, start times, boot ids; and digests in place of filters.

The recording side gives symbols to values as they appear. The replaying side has the recording's symbols, and gives them values;
both write the same calls down in the same form, which is what is compared.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from docket.domain.plan.operations import JoinNamespaces, JoinUsers, LoadSeccomp, Operation
from docket.domain.ports import ProcessIdentity


class Symbols:
    """The values of one recording and their symbols."""

    def __init__(self) -> None:
        self._symbols: dict[tuple[str, object], str] = {}
        self._values: dict[str, object] = {}
        self._counts: dict[str, int] = {}

    def of(self, kind: str, value: object) -> str:
        """The symbol of a value; the next one of its kind when it is new."""
        key = (kind, value)
        if key not in self._symbols:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            symbol = f"${kind}{self._counts[kind]}"
            self._symbols[key] = symbol
            self._values[symbol] = value
        return self._symbols[key]

    def bind(self, kind: str, value: object, symbol: str) -> None:
        """Give a value to a symbol that the recording has already numbered."""
        self._symbols[(kind, value)] = symbol
        self._values[symbol] = value
        number = symbol.removeprefix(f"${kind}")
        self._counts[kind] = max(self._counts.get(kind, 0), int(number) if number.isdigit() else 0)

    def value(self, symbol: str) -> object | None:
        """The value of a symbol, or None while it has none."""
        return self._values.get(symbol)

    def process(self, pid: int, start_time: int) -> tuple[str, str]:
        """The symbols of a process: a pid that comes again with another start time is another process."""
        pid_symbol = self.of("pid", (pid, start_time))
        return pid_symbol, "$start" + pid_symbol.removeprefix("$pid")

    def identity(self, identity: ProcessIdentity | None) -> dict[str, str] | None:
        """An identity in symbols."""
        if identity is None:
            return None
        pid, start = self.process(identity.pid, identity.start_time)
        return {"pid": pid, "start_time": start, "boot_id": self.of("boot", identity.boot_id)}

    def symbolised(self, operation: Operation) -> Any:
        """An operation with symbols, as something of the same JSON: itself, unless there is something to replace."""
        if isinstance(operation, JoinNamespaces | JoinUsers):
            form: list[Any] = msgspec.to_builtins(operation)
            form[1:3] = self.process(operation.pid, operation.start_time)
            return form
        if isinstance(operation, LoadSeccomp):
            return LoadSeccomp(_digest(operation.program))
        return operation


@lru_cache(maxsize=64)
def _digest(program: str) -> str:
    """A filter is long, and the same for most containers."""
    return program if program.startswith("sha256:") else f"sha256:{sha256(program.encode()).hexdigest()}"

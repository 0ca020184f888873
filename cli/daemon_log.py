"""The daemon's own log: logfmt lines on standard error, as dockerd writes them.

    time="2026-11-24T07:22:40.147059950Z" level=info msg="API listen on /run/docket/docket.sock"

It is for whoever runs the daemon; what the engine did is in the event log. Levels: *error* is work that failed, with the job's
id; *warning* something lost or odd that the daemon goes on with; *info* its life: start, recovery, listening, reload, end; *debug*
every request and rejected job. A level says this and what is worse. What clients wrote is escaped: a line stays one line (S55).
"""

from __future__ import annotations

import logging
import os
import time

_RANK = {"debug": 0, "info": 1, "warning": 2, "warn": 2, "error": 3, "fatal": 4}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class DaemonLog:
    """Implements `docket.domain.ports.Reporter`. A line that cannot be written is lost."""

    def __init__(self, level: str = "info", descriptor: int = 2) -> None:
        self._rank = _RANK[level]
        self._descriptor = descriptor

    def set_level(self, level: str) -> None:
        self._rank = _RANK[level]

    def __call__(self, level: str, message: str, /, **fields: object) -> None:
        if _RANK[level] < self._rank:
            return
        line = logfmt({"time": _now(), "level": level, "msg": message, **fields})
        try:
            os.write(self._descriptor, line.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # standard error is closed or full: the daemon's work does not depend on it

    def take_library_logs(self) -> None:
        """Warnings of Python's logging go here too, such as those of the event store."""
        root = logging.getLogger()
        root.handlers = [_Handler(self)]
        root.setLevel(logging.WARNING)


class _Handler(logging.Handler):
    def __init__(self, log: DaemonLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log(level, record.getMessage(), module=record.name)


def logfmt(fields: dict[str, object]) -> str:
    """One line of ``key=value``; a value is quoted unless it is of letters, digits and ``-._/@^+``. The time always is."""
    return " ".join(f"{key}={_value(str(value), key == 'time')}" for key, value in fields.items()) + "\n"


def _value(text: str, quoted: bool) -> str:
    if text and not quoted and _PLAIN.issuperset(text):
        return text
    return '"' + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _escaped(char)) for char in text) + '"'


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"

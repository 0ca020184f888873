"""The daemon's pid file: one that names a process that lives is refused, one that a crash left behind is replaced."""

from __future__ import annotations

import os

from docket.domain.errors import Unavailable


def write_pidfile(path: str) -> None:
    """Raises `Unavailable` when a daemon that lives has it, or it cannot be written."""
    pid = _recorded(path)
    if pid and pid != os.getpid() and os.path.exists(f"/proc/{pid}"):
        raise Unavailable(
            f"process with PID {pid} is still running: pid file found, ensure docket is not running or delete {path}"
        )
    temporary = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"pid file {path} cannot be written: {(error.strerror or str(error)).lower()}") from error


def remove_pidfile(path: str) -> None:
    """Remove it unless it is another's by now."""
    if _recorded(path) == os.getpid():
        os.unlink(path)


def _recorded(path: str) -> int:
    """The pid in the file; 0 when there is no file or no pid in it."""
    try:
        with open(path, "rb") as file:
            text = file.read(32).strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() and len(text) < 10 else 0

"""Damage that was found while the engine ran, and the note beside the log that lets the next start look again (S52).

A running engine goes on with what it knows: its containers need it. But nothing new is built on a damaged log: the next start
finds the note, checks the whole log, and refuses it with the number of the event, or deletes the note when all is well again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from docket.domain.errors import StoreRefused

_log = logging.getLogger(__name__)


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".damage")


def note_damage(path: Path, message: str) -> None:
    """Leave the note; one that cannot be written is logged, for the next check finds the damage again."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(_note(path), flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{message}\n".encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        _log.warning("event log: the note about damage cannot be written: %s", error)


def damage_noted(path: Path) -> bool:
    """Tell whether a check found damage since the log was last seen to be whole."""
    return _note(path).exists()


def forget_damage(path: Path) -> None:
    """The log is whole again."""
    _note(path).unlink(missing_ok=True)


def check_structure(connection: sqlite3.Connection, path: Path) -> None:
    """Have SQLite check all of the database. Raises StoreRefused."""
    try:
        (finding,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        finding = str(error)
    if finding != "ok":
        raise StoreRefused(
            f"event log {path}: all events are whole, but the database around them is damaged ({finding}): "
            "copy it with sqlite3's .recover, or restore the data root from a backup"
        )

"""Decides whether a database may be used as a log, and prepares the writer's connection.

Everything that is not exactly what docket left behind is refused with a sentence that says what to do; nothing is repaired
behind the user's back, except state snapshots, which are copies of what the events say and are dropped when they are damaged.

What is checked at the start: that the file is a database of docket's and of a schema that this version knows, that WAL and
``synchronous=FULL`` really hold, and the hash chain from the last state snapshot on. What lies before the snapshot is
checked by ``verify()``, so that start-up does not depend on the length of the log; where that found damage, it left a note, and
the next start checks everything (`docket.event_store.damage`).
"""

from __future__ import annotations

import os
import sqlite3
from hashlib import sha256
from pathlib import Path

from docket.domain.errors import CorruptEvent, StoreFailed, StoreRefused
from docket.event_store import ranges
from docket.event_store.chain import GENESIS
from docket.event_store.damage import check_structure, damage_noted, forget_damage
from docket.event_store.reading import ChainChecker, Selection, is_damage, rows

SCHEMA = 2
"""The schema of the database that this version writes, as ``PRAGMA user_version``."""

APPLICATION_ID = 0x646F636B  # "dock", in the header of the file: `file log.db` and SQLite's tools show it

IMPORTED_ID = 0x646F6369  # "doci": a log that was imported from elsewhere, to be looked at only

_RESTORE = "restore the data root from a backup, or move the file away to begin with an empty log"


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open or create the log; the caller holds its lock. Raises StoreRefused."""
    try:
        _create_private(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(f"event log {path} cannot be opened: {error}") from error
    try:
        _check_identity(connection, path)
        _set_durability(connection, path)
        _migrate(connection)
        # Old frames behind the end of the WAL may hold secrets that were forgotten just before a crash.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if is_damage(error):
            raise StoreRefused(f"event log {path} is damaged or no database ({error}): {_RESTORE}") from error
        raise StoreRefused(f"event log {path} cannot be opened: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, so that no umask leaves it open; SQLite gives the WAL the same mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
    finally:
        # Closing drops every POSIX lock of the process on the file: only allowed while SQLite does not have it open.
        os.close(descriptor)


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application == IMPORTED_ID:
        raise StoreRefused(f"event log {path} was imported, it can only be looked at: docket --log {path.parent} ps -a")
    if application != APPLICATION_ID:
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if objects or schema:
            raise StoreRefused(f"event log {path} is a database of another program, or damaged: {_RESTORE}")
    if schema > SCHEMA:
        raise StoreRefused(
            f"event log {path} has schema {schema}, written by {_writer(connection, schema)}; this docket knows schemas up to "
            f"{SCHEMA}: start that docket or a later one, nothing was changed"
        )


def _writer(connection: sqlite3.Connection, schema: int) -> str:
    row = connection.execute("SELECT docket FROM written_by WHERE schema = ?", [schema]).fetchone()
    return f"docket {row[0]}" if row else "an unknown docket (or the file's header is damaged)"


def _set_durability(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    for setting in (
        "synchronous = FULL",
        "fullfsync = ON",  # macOS: fsync alone leaves data in the drive's cache
        "secure_delete = ON",
        "cell_size_check = ON",
        "trusted_schema = OFF",
        "temp_store = MEMORY",  # no secret in a temporary file
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {setting}")
    (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if journal != "wal" or synchronous != 2:
        raise StoreRefused(
            f"event log {path}: the file system allows journal mode {journal} and synchronous {synchronous} only, but WAL and "
            "FULL (2) are needed: put the data root on a local disk"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if schema < SCHEMA:
        from docket.event_store.migrations import migrate  # slow to import, and rarely needed

        migrate(connection)


def snapshot_digest(position: int, digest: bytes, taken_ns: int, schema: int, data: bytes) -> bytes:
    """Compute what a state snapshot's row is checked against."""
    return sha256(b"%d %d %d\n%b%b" % (position, taken_ns, schema, digest, data)).digest()


def drop_damaged_snapshots(connection: sqlite3.Connection) -> None:
    """Delete damaged state snapshots from the newest one down to the first that is whole."""
    while True:
        newest = connection.execute(
            "SELECT position, hash, taken_ns, schema, data, digest FROM state_snapshots ORDER BY position DESC LIMIT 1"
        ).fetchone()
        if newest is None or newest[5] == snapshot_digest(*newest[:5]):
            return
        connection.execute("DELETE FROM state_snapshots WHERE position = ?", newest[:1])


def check_log(connection: sqlite3.Connection, path: Path, schema: int) -> tuple[int, bytes]:
    """Check the chain behind the last state snapshot of ``schema``, or all of it where damage was noted; give head and hash.

    Raises StoreRefused, with the number of the first event that is not what was appended.
    """
    noted = damage_noted(path)
    head = _check_chain(connection, path, None if noted else schema)
    if noted:
        check_structure(connection, path)
        forget_damage(path)
    return head


def _check_chain(connection: sqlite3.Connection, path: Path, schema: int | None) -> tuple[int, bytes]:
    """Check the chain behind the last state snapshot of ``schema``; for None all that is in the database."""
    try:
        drop_damaged_snapshots(connection)
        checker = _seal(connection) if schema is None else _anchor(connection, schema)
        for chunk in rows(path, Selection(None, None, None, None), checker.position):
            for row in chunk:
                checker.check(row)
    except (CorruptEvent, StoreFailed, sqlite3.Error, TypeError) as error:
        raise StoreRefused(f"event log {path} is damaged ({error}): {_RESTORE}") from error
    return checker.position, checker.digest


def _seal(connection: sqlite3.Connection) -> ChainChecker:
    """Where the events begin that are not sealed."""
    last = ranges.horizon(connection)
    return ChainChecker(last, ranges.hash_at(connection, last) or GENESIS)


def _anchor(connection: sqlite3.Connection, schema: int) -> ChainChecker:
    found = connection.execute(
        "SELECT position, hash FROM state_snapshots WHERE schema = ? ORDER BY position DESC LIMIT 1", [schema]
    ).fetchone()
    sealed = _seal(connection)
    if found is None or found[0] < sealed.position:
        return sealed
    position, expected = found
    if expected != ranges.hash_at(connection, position):
        raise CorruptEvent(position, "is missing or does not match the state snapshot taken at it")
    return ChainChecker(position, expected)

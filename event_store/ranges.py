"""The table of sealed ranges: which events lie in an archive beside the log, and how the chain goes on behind them.

The last row is the log's anchor: ``last`` and ``hash`` are what the first event that is not sealed is chained to. Rows of archives
that were dropped go too, but for the newest of them: it is what the oldest archive that is kept is chained to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from docket.domain.errors import StoreFailed
from docket.domain.log import Batch, Seal

_COLUMNS = "first, last, hash, min_time, max_time, bytes, digest, kept"

_INSERT = f"INSERT INTO sealed_ranges ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, 1)"
_DROP = "UPDATE sealed_ranges SET kept = 0 WHERE last <= ? AND kept"
_FORGET = "DELETE FROM sealed_ranges WHERE NOT kept AND last < (SELECT max(last) FROM sealed_ranges WHERE NOT kept)"
_FORGET_SECRET = "DELETE FROM secrets WHERE reference = ?"
_FORGET_SNAPSHOTS = "DELETE FROM state_snapshots WHERE position < ?"

# The newest events of the log and the ends of ranges. The function is the writer's connection's own.
SAVE_SNAPSHOT = """
INSERT OR REPLACE INTO state_snapshots (position, hash, taken_ns, schema, data, digest)
SELECT position, hash, :taken_ns, :schema, :data, docket_snapshot_digest(position, hash, :taken_ns, :schema, :data)
FROM (
    SELECT position, hash FROM events WHERE position = :position
    UNION SELECT last, hash FROM sealed_ranges WHERE last = :position
)"""

PROTECTED = """
SELECT ifnull(max(last), 0) FROM sealed_ranges UNION SELECT ifnull(max(last), 0) FROM sealed_ranges WHERE NOT kept"""
"""Positions whose state snapshots stay: without the archives nothing else tells what came before."""

Statement = tuple[str, Sequence[Any] | dict[str, Any]]


def statements(batch: Batch, taken_ns: int, schema: int) -> list[Statement]:
    """What a batch's transaction does beside appending its events."""
    found: list[Statement] = []
    seal = batch.seal
    if seal is not None:
        row = (seal.first, seal.last, seal.hash, seal.min_time_ns, seal.max_time_ns, seal.size, seal.digest)
        found.append((_INSERT, row))
    for position, data in batch.folds.items():
        found.append((SAVE_SNAPSHOT, {"position": position, "taken_ns": taken_ns, "schema": schema, "data": data}))
    if batch.drop_upto:
        found += [(_FORGET_SECRET, (reference,)) for reference in batch.forgotten]
        found += [(_DROP, (batch.drop_upto,)), (_FORGET, ()), (_FORGET_SNAPSHOTS, (batch.drop_upto,))]
    return found


def sealed(connection: sqlite3.Connection) -> list[Seal]:
    """All rows, oldest first. Raises StoreFailed."""
    return [_seal(row) for row in _fetch(connection, f"SELECT {_COLUMNS} FROM sealed_ranges ORDER BY first")]


def behind(connection: sqlite3.Connection, after: int) -> Seal | None:
    """The range in which the event behind ``after`` lies; None when it is not sealed. Raises StoreFailed."""
    rows = _fetch(connection, f"SELECT {_COLUMNS} FROM sealed_ranges WHERE last > ? ORDER BY last LIMIT 1", after)
    return _seal(rows[0]) if rows else None


def horizon(connection: sqlite3.Connection) -> int:
    """The position up to which events are sealed. Raises StoreFailed."""
    rows = _fetch(connection, "SELECT max(last) FROM sealed_ranges")
    return (rows[0][0] or 0) if rows else 0


def floor(connection: sqlite3.Connection) -> int:
    """The position up to which events are no longer kept. Raises StoreFailed."""
    rows = _fetch(connection, "SELECT max(last) FROM sealed_ranges WHERE NOT kept")
    return (rows[0][0] or 0) if rows else 0


def hash_at(connection: sqlite3.Connection, position: int) -> bytes | None:
    """The hash of an event of the log, or of the last one of a range; None when it is neither. Raises StoreFailed."""
    rows = _fetch(connection, "SELECT hash FROM sealed_ranges WHERE last = ?", position)
    rows = rows or _fetch(connection, "SELECT hash FROM events WHERE position = ?", position)
    return rows[0][0] if rows else None


def _seal(row: tuple[Any, ...]) -> Seal:
    first, last, digest_of_last, earliest, latest, size, digest, kept = row
    return Seal(first, last, digest_of_last, earliest, latest, size, digest, bool(kept))


def _fetch(connection: sqlite3.Connection, query: str, *arguments: int) -> list[Any]:
    try:
        return connection.execute(query, arguments).fetchall()
    except sqlite3.Error as error:
        if "no such table: sealed_ranges" in str(error):
            return []  # a log of an older docket, which is only looked at
        raise StoreFailed(f"event log cannot be read: {error}") from error

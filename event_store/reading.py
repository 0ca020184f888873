"""Reads events beside the writer, a chunk at a time, and checks them.

Rules:
- A reader has its own connection and keeps no transaction open between two chunks: a slow reader neither holds back the
  checkpoints (the WAL would grow) nor keeps erased secrets alive.
- What SQLite gives is not trusted: a value of the wrong type or text that is no UTF-8 is a CorruptEvent like a wrong hash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from docket.domain.errors import CorruptEvent, StoreFailed
from docket.domain.log import Metadata, StoredEvent
from docket.event_store.chain import COLUMNS, GENESIS, Row, link
from docket.event_store.codec import Codec

_CHUNK = 500


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write. It may be used in any thread, in one at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA query_only = ON")
    return connection


class Selection:
    """Which events to read; builds the query of a chunk."""

    def __init__(self, stream: str | None, types: Sequence[str] | None, job: str | None, upto: int | None) -> None:
        self._where = ["position > ?"]
        self._arguments: list[Any] = []
        if upto is not None:
            self._add("position <= ?", upto)
        if stream is not None:
            self._add("stream = ?", stream)
        if job is not None:
            # The index holds no rows without a job, and SQLite uses it only where the query says so too.
            self._add("job = ? AND job <> ''" if job else "job = ?", job)
        if types is not None:
            self._add(f"type IN ({', '.join('?' * len(types))})", *types)

    def _add(self, condition: str, *arguments: str | int) -> None:
        self._where.append(condition)
        self._arguments += arguments

    def chunk(self, connection: sqlite3.Connection, columns: str, after: int, limit: int) -> list[Any]:
        """Fetch up to ``limit`` rows behind position ``after``; raises CorruptEvent or StoreFailed."""
        query = f"SELECT {columns} FROM events WHERE {' AND '.join(self._where)} ORDER BY position LIMIT {limit}"
        try:
            return connection.execute(query, [after, *self._arguments]).fetchall()
        except sqlite3.Error as error:
            raise _explain(connection, error, after) from error


def is_damage(error: sqlite3.Error) -> bool:
    """Tell bytes that are not what was written from a disk that is full, gone or busy."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "decode to UTF-8" in str(error)  # Python's own complaint about a text column, it has no code
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _explain(connection: sqlite3.Connection, error: sqlite3.Error, after: int) -> CorruptEvent | StoreFailed:
    """Find the first event behind ``after`` that cannot be read, to name it; an error of the disk stays one."""
    if not is_damage(error):
        return StoreFailed(f"event log cannot be read behind event {after}: {error}")
    position = after
    try:
        for (position,) in connection.execute("SELECT position FROM events WHERE position > ? ORDER BY position", [after]):
            connection.execute(f"SELECT {COLUMNS} FROM events WHERE position = ?", [position]).fetchone()
    except sqlite3.Error as cause:
        # Either this row cannot be read, or the step to the row behind it failed.
        return CorruptEvent(position or 1, f"cannot be read: {cause}")
    return CorruptEvent(after + 1, f"cannot be read: {error}")


def rows(path: Path, selection: Selection, after: int, limit: int | None = None) -> Iterator[list[Row]]:
    """Yield chunks of rows with all `COLUMNS`, in the order of their positions."""
    with closing(connect(path)) as connection:
        while limit is None or limit > 0:
            size = _CHUNK if limit is None else min(_CHUNK, limit)
            chunk = selection.chunk(connection, COLUMNS, after, size)
            if chunk:
                yield chunk
            if len(chunk) < size:
                return
            after = chunk[-1][0]
            limit = None if limit is None else limit - size


def fold_rows(path: Path, after: int, upto: int | None) -> Iterator[tuple[int, list[tuple[str, int, str, int]]]]:
    """Yield (position of the first, chunk of (type, schema, data, time)); the others follow without a gap.

    Leaving the position out saves a tenth of the time that reading takes. Raises CorruptEvent where an event is missing.
    """
    with closing(connect(path)) as connection:
        while True:
            # Asked first: events that are appended between the two queries must not look like a gap.
            last = _last_of_chunk(connection, after, upto)
            if last is None:
                return
            chunk = Selection(None, None, None, last).chunk(connection, "type, schema, data, time", after, _CHUNK)
            if len(chunk) != last - after:
                raise _first_gap(connection, after)
            yield after + 1, chunk
            after = last


def _last_of_chunk(connection: sqlite3.Connection, after: int, upto: int | None) -> int | None:
    """Give the position of the last event of the chunk behind ``after``; None at the end."""
    if upto is not None and after >= upto:
        return None
    end = after + _CHUNK if upto is None else min(after + _CHUNK, upto)
    head = Selection(None, None, None, None).chunk(connection, "max(position)", after, 1)[0][0]
    return None if head is None else min(head, end)


def _first_gap(connection: sqlite3.Connection, after: int) -> CorruptEvent:
    expected = after + 1
    for (position,) in connection.execute("SELECT position FROM events WHERE position > ? ORDER BY position", [after]):
        if position != expected:
            return CorruptEvent(expected, f"is missing, the next one in the log is {position}")
        expected += 1
    return CorruptEvent(expected, "is missing at the end of the log")


def to_event(codec: Codec, row: Row) -> StoredEvent:
    """Make the event of its columns."""
    position, stream, version, name, schema, data, time_ns, job, causation, actor, digest = row
    event = codec.decode(name, schema, data, position)
    return StoredEvent(position, stream, version, event, Metadata(time_ns, job, actor, causation), digest)


class ChainChecker:
    """Follows the chain from a known event on."""

    def __init__(self, position: int = 0, digest: bytes = GENESIS) -> None:
        self.position = position
        self.digest = digest

    def check(self, row: Row) -> None:
        """Raises CorruptEvent when ``row`` is not the event that was appended next."""
        position, stream, version, name, schema, data, time_ns, job, causation, actor, digest = row
        expected = self.position + 1
        if position != expected:
            raise CorruptEvent(expected, f"is missing, the next one in the log is {position}")
        try:
            computed = link(self.digest, position, stream, version, name, schema, data, time_ns, job, causation, actor)
        except (TypeError, UnicodeError) as error:
            raise CorruptEvent(position, f"holds a value of the wrong type: {error}") from error
        # link() prints numbers and text alike, so the types are part of the check.
        if type(data) is not str or type(stream) is not str or type(version) is not int or computed != digest:
            raise CorruptEvent(position, "does not match its hash: it, or the hash of the event before it, was changed")
        self.position, self.digest = position, digest

"""Reads events beside the writer, a chunk at a time, and checks them.

Rules:
- A reader has its own connection and keeps no transaction open between two chunks: a slow reader neither holds back the
  checkpoints (the WAL would grow) nor keeps erased secrets alive.
- What is sealed is read from its archive, whether its rows are still in the table or not. A compaction may seal what a reader is
  about to read: so the horizon is looked at after each chunk, and a chunk that lies before it is thrown away.
- What SQLite gives is not trusted: a value of the wrong type or text that is no UTF-8 is a CorruptEvent like a wrong hash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from docket.domain.errors import CorruptEvent, EventsDropped, StoreFailed
from docket.domain.log import Metadata, Seal, StoredEvent
from docket.event_store import archive, ranges
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
        self.upto = upto
        self._stream, self._types, self._job = stream, types, job
        self._marks = [msgspec.json.encode(text) for text in (stream, job) if text]
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

    def mentions(self, line: bytes) -> bool:
        """Tell whether a line of an archive may hold an event that is wanted."""
        return all(mark in line for mark in self._marks)

    def matches(self, row: Row, after: int) -> bool:
        """What the query's conditions say, of a row that came from an archive."""
        return (
            row[0] > after
            and (self.upto is None or row[0] <= self.upto)
            and (self._stream is None or row[1] == self._stream)
            and (self._types is None or row[3] in self._types)
            and (self._job is None or row[7] == self._job)
        )

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
    """Yield chunks of rows with all `COLUMNS`, in the order of their positions. Events that are no longer kept are passed over."""
    with closing(connect(path)) as connection:
        while (limit is None or limit > 0) and (selection.upto is None or after < selection.upto):
            seal = ranges.behind(connection, after)
            if seal is not None:
                for chunk in _archived(path, connection, seal, selection, after):
                    chunk = chunk[:limit]
                    limit = None if limit is None else limit - len(chunk)
                    yield chunk
                    if limit == 0:
                        return
                after = seal.last
                continue
            size = _CHUNK if limit is None else min(_CHUNK, limit)
            chunk = selection.chunk(connection, COLUMNS, after, size)
            if ranges.horizon(connection) > after:
                continue
            if chunk:
                yield chunk
            if len(chunk) < size:
                return
            after = chunk[-1][0]
            limit = None if limit is None else limit - size


def _archived(path: Path, connection: sqlite3.Connection, seal: Seal, selection: Selection, after: int) -> Iterator[list[Row]]:
    """The wanted events of a sealed range; none when its archive was dropped, be it in this moment."""
    if not seal.kept:
        return
    try:
        for chunk in archive.read(path, seal, selection.mentions):
            wanted = [row for row in chunk if selection.matches(row, after)]
            if wanted:
                yield wanted
    except StoreFailed:
        present = ranges.behind(connection, seal.first - 1)
        if present is not None and present.last == seal.last and present.kept:
            raise


def fold_rows(path: Path, after: int, upto: int | None) -> Iterator[tuple[int, list[tuple[str, int, str, int]]]]:
    """Yield (position of the first, chunk of (type, schema, data, time)); the others follow without a gap.

    Leaving the position out saves a tenth of the time that reading takes. Raises CorruptEvent where an event is missing,
    EventsDropped where they are no longer kept.
    """
    with closing(connect(path)) as connection:
        while True:
            seal = ranges.behind(connection, after)
            if seal is not None and (upto is None or after < upto):
                if not seal.kept:
                    raise EventsDropped(seal.last)
                selection = Selection(None, None, None, upto)
                reached = after
                for found in _archived(path, connection, seal, selection, after):
                    yield found[0][0], [(row[3], row[4], row[5], row[6]) for row in found]
                    reached = found[-1][0]
                if reached < min(seal.last, upto or seal.last):
                    raise EventsDropped(seal.last)
                after = reached
                continue
            # Asked first: events that are appended between the two queries must not look like a gap.
            last = _last_of_chunk(connection, after, upto)
            if last is None:
                return
            chunk = Selection(None, None, None, last).chunk(connection, "type, schema, data, time", after, _CHUNK)
            if ranges.horizon(connection) > after:
                continue
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

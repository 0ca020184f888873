"""Compaction's part of the SQLite store: a range is archived, sealed by a batch, and then deleted from the table piece by piece.

    archive written and durable ─► seal committed with its event ─► rows deleted, some at a time ─► dropped archives unlinked

A crash after any of these loses nothing: an archive without a seal is rubbish, rows that a seal covers are not read, there or not,
and the next compaction goes on where this one ended. Of streams that live, the newest event of each type
stays in the table: the views for people and the streams' versions need no more. Readers never see those rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from docket.domain.errors import CorruptEvent, StoreFailed
from docket.domain.log import Fate, Seal
from docket.event_store import archive, ranges
from docket.event_store.chain import GENESIS, Row
from docket.event_store.codec import Codec
from docket.event_store.reading import ChainChecker, Selection, connect, rows

_PIECE = 250  # rows in one transaction: a few milliseconds, for which an append may wait

Delete = Callable[[Callable[[sqlite3.Connection], bool]], bool]
"""Does something in the writer's thread, and waits for it."""

_SEALED = "SELECT position, stream, type, ifnull(json_extract(data, '$.reference'), '') FROM events WHERE position <= ?"


def archive_upto(log: Path, codec: Codec, upto: int) -> Seal:
    """Write what lies between the last seal and ``upto`` into an archive. Raises StoreFailed and CorruptEvent.

    The chain is followed, and every event decoded: what is damaged is never sealed.
    """
    with closing(connect(log)) as connection:
        first = ranges.horizon(connection) + 1
        previous = ranges.hash_at(connection, first - 1) if first > 1 else GENESIS
    if upto < first or previous is None:
        raise StoreFailed(f"events up to {upto} cannot be sealed: those up to {first - 1} are")
    try:
        return archive.write(log, first, upto, previous, _checked(log, codec, first, upto, previous))
    except OSError as error:
        raise StoreFailed(f"event log {log}: no archive was made: {error.strerror}") from error


def _checked(log: Path, codec: Codec, first: int, upto: int, previous: bytes) -> Iterator[list[Row]]:
    checker = ChainChecker(first - 1, previous)
    for chunk in rows(log, Selection(None, None, None, upto), first - 1):
        for row in chunk:
            checker.check(row)
            codec.decode(row[3], row[4], row[5], row[0])
        yield chunk
    if checker.position != upto:
        raise StoreFailed(f"events up to {upto} cannot be sealed: the log ends at {checker.position}")


def trim(log: Path, fate: Callable[[str], Fate], delete: Delete) -> Iterator[int]:
    """Delete the sealed rows that nobody needs; yields how many, after each piece. Raises StoreFailed."""
    positions = _superfluous(log, fate)
    for first in range(0, len(positions), _PIECE):
        piece = positions[first : first + _PIECE]
        delete(lambda connection, piece=piece: _delete(connection, piece))  # type: ignore[misc]
        yield len(piece)


def _delete(connection: sqlite3.Connection, positions: list[int]) -> bool:
    # One statement is one transaction. Positions are integers from the table itself.
    connection.execute(f"DELETE FROM events WHERE position IN ({','.join(map(str, positions))})")
    return True


def _superfluous(log: Path, fate: Callable[[str], Fate]) -> list[int]:
    newest: dict[tuple[str, str, str], int] = {}
    positions: list[int] = []
    try:
        with closing(connect(log)) as connection:
            for position, stream, name, subject in connection.execute(_SEALED, [ranges.horizon(connection)]):
                positions.append(position)
                what = fate(stream)
                if what is Fate.LIVES:
                    newest[stream, name, subject] = position
                elif what is Fate.RESTS:
                    newest[stream, "", ""] = position
    except sqlite3.Error as error:
        raise StoreFailed(f"event log {log} cannot be read: {error}") from error
    needed = set(newest.values())
    return [position for position in positions if position not in needed]


def position_at(log: Path, connection: sqlite3.Connection, time_ns: int) -> int:
    """As `docket.domain.ports.EventStore.position_at`. Raises StoreError."""
    behind = ranges.horizon(connection)
    query = "SELECT position FROM events WHERE time <= ? AND position > ? ORDER BY time DESC, position DESC LIMIT 1"
    found = connection.execute(query, [time_ns, behind]).fetchone()
    if found is not None:
        return int(found[0])
    seals = [seal for seal in ranges.sealed(connection) if seal.kept and seal.min_time_ns <= time_ns]
    if not seals:
        return 0
    newest = seals[-1]
    if newest.max_time_ns <= time_ns:
        return newest.last
    return max((row[6], row[0]) for chunk in archive.read(log, newest) for row in chunk if row[6] <= time_ns)[1]


def position_before(connection: sqlite3.Connection, time_ns: int) -> int:
    """As `docket.domain.ports.EventStore.position_before`; where the event lies in an archive, that begins behind it."""
    for seal in ranges.sealed(connection):
        if seal.kept and seal.max_time_ns >= time_ns:
            return seal.first - 1
    behind = ranges.horizon(connection)
    # The plus keeps SQLite from walking along all positions instead of along the index of times.
    (found,) = connection.execute(
        "SELECT min(+position) FROM events WHERE time >= ? AND position > ?", [time_ns, behind]
    ).fetchone()
    if found is not None:
        return int(found) - 1
    (last,) = connection.execute("SELECT max(position) FROM events").fetchone()
    return int(last or 0)


def verify_archive(log: Path, codec: Codec, seal: Seal, checker: ChainChecker, table: dict[int, Row]) -> None:
    """Follow the chain through an archive; the rows of its range that stay in the ``table`` must be the same. Raises StoreError."""
    archive.check(log, seal)
    for chunk in archive.read(log, seal):
        for row in chunk:
            checker.check(row)
            codec.decode(row[3], row[4], row[5], row[0])
            if table.get(row[0], row) != row:
                raise CorruptEvent(row[0], "is not in the table as it is in its archive: one of them was changed")

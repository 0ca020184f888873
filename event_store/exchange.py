"""A log as one file: exported with its recordings, and imported on another machine, where it is looked at and never run.

The file is JSON, one array a line, in gzip; `zcat` shows it, and what it shows can be imported as well:

    {"docket_log":1,"docket":"0.1.0","schema":1,"secrets":false}
    ["beginning",position,hash,state schema,state]                                         only where older events were dropped
    ["living",position,stream,version,type,schema,data,time,job,causation,actor,hash]      with it: what the log's table has of them
    ["event",position,stream,version,type,schema,data,time,job,causation,actor,hash]       hash in hexadecimal digits
    ["recording",job,created_ns,lines]                                                     followed by so many lines of it
    ["secret",reference,value]                                                            value in base64
    ["end",events,hash of the last,recordings,secrets]

Positions, texts and hashes are those of the log, so the chain verifies in the file as it did there. Archived events are among the
others. Secrets (values of environment variables, arguments of execs) come along only where that was asked for. State snapshots do
not: they are folds of the events. Only a log whose first archives were dropped brings one, since nothing else tells what came
before; it is read as strictly as the events are, but no proof goes with it.

What is imported comes from anywhere (S57). It is read within limits and strictly, every event is decoded and checked against the
chain, and nothing of the file is ever used as a path. The database that it becomes bears another application id, so that no engine
opens it as its own: a log that was written elsewhere must not decide what is removed here.
"""

from __future__ import annotations

import sqlite3
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

import docket
from docket.domain.errors import CorruptEvent, StoreRefused
from docket.event_store import bounded_lines
from docket.event_store.bounded_lines import refused
from docket.event_store.chain import COLUMNS, Row
from docket.event_store.codec import Codec
from docket.event_store.opening import IMPORTED_ID, SCHEMA, snapshot_digest
from docket.event_store.reading import ChainChecker

VERSION: Literal[1] = 1
MAX_LINES = 20_000_000

_PIECE = 1 << 18
_BATCH = 1_000

Secret = tuple[str, bytes]
Recording = tuple[str, int, bytes]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    docket_log: Literal[1]
    docket: str
    schema: int
    secrets: bool


class Imported(msgspec.Struct, frozen=True):
    """What an import found. ``secrets`` tells how many came along, ``position`` and ``hash`` where the log ends."""

    events: int
    recordings: int
    secrets: int
    position: int
    hash: bytes


# Lines. The first element says of what kind one is.


class _EventLine(msgspec.Struct, frozen=True, tag="event", array_like=True, forbid_unknown_fields=True):
    position: int
    stream: str
    version: int
    name: str
    schema: int
    data: str
    time: int
    job: str
    causation: int | None
    actor: str
    hash: str


class _RecordingLine(msgspec.Struct, frozen=True, tag="recording", array_like=True, forbid_unknown_fields=True):
    job: str
    created_ns: int
    lines: int


class _Recording(msgspec.Struct, frozen=True):
    """A recording with its lines."""

    job: str
    created_ns: int
    data: bytes


class _SecretLine(msgspec.Struct, frozen=True, tag="secret", array_like=True, forbid_unknown_fields=True):
    reference: str
    value: str


class _EndLine(msgspec.Struct, frozen=True, tag="end", array_like=True, forbid_unknown_fields=True):
    events: int
    hash: str
    recordings: int
    secrets: int


class _BeginningLine(msgspec.Struct, frozen=True, tag="beginning", array_like=True, forbid_unknown_fields=True):
    position: int
    hash: str
    state_schema: int
    state: str


class _LivingLine(_EventLine, frozen=True, tag="living", array_like=True, forbid_unknown_fields=True):
    pass


_Line = _EventLine | _RecordingLine | _SecretLine | _BeginningLine | _LivingLine | _EndLine
_Part = _EventLine | _Recording | _SecretLine | _BeginningLine | _LivingLine | _EndLine


class Beginning(msgspec.Struct, frozen=True):
    """Where a log begins whose first events are no longer kept: the fold of them, and the rows that are left of them."""

    position: int
    hash: bytes
    state_schema: int
    state: bytes
    living: list[Row]


def export_log(
    rows: Iterable[Row],
    recordings: Iterable[Recording],
    secrets: Iterable[Secret] | None,
    beginning: Beginning | None = None,
) -> Iterator[bytes]:
    """Give the file in pieces; with ``secrets`` None without them."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, bounded_lines.GZIP)
    pending = bytearray()
    for line in _export_lines(rows, recordings, secrets, beginning):
        pending += line + b"\n"
        if len(pending) >= _PIECE:
            yield compressor.compress(bytes(pending))
            pending.clear()
    yield compressor.compress(bytes(pending)) + compressor.flush()


def _export_lines(
    rows: Iterable[Row], recordings: Iterable[Recording], secrets: Iterable[Secret] | None, beginning: Beginning | None
) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    yield encode(Header(VERSION, docket.__version__, SCHEMA, secrets is not None))
    counts, last = [0, 0, 0], bytes(32)
    if beginning is not None:
        last = beginning.hash
        yield encode(_BeginningLine(beginning.position, last.hex(), beginning.state_schema, beginning.state.decode()))
        for row in beginning.living:
            yield encode(_LivingLine(*row[:-1], row[-1].hex()))
    for row in rows:
        counts[0] += 1
        last = row[-1]
        yield encode(_EventLine(*row[:-1], last.hex()))
    for job, created_ns, lines in recordings:
        counts[1] += 1
        split = lines.removesuffix(b"\n").split(b"\n")
        yield encode(_RecordingLine(job, created_ns, len(split)))
        yield from split
    for reference, value in secrets or ():
        counts[2] += 1
        yield encode(_SecretLine(reference, b64encode(value).decode()))
    yield encode(_EndLine(counts[0], last.hex(), counts[1], counts[2]))


def import_log(source: BinaryIO, target: Path, codec: Codec) -> Imported:
    """Make the database ``target`` of an exported log. Raises StoreRefused; then nothing is left of it.

    ``target`` must not exist. What the file says is checked before the database is complete, so a reader never sees a part.
    """
    try:
        target.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise StoreRefused(
            f"log cannot be imported to {target}: {error.strerror}: name a place where nothing is yet"
        ) from error
    try:
        connection = sqlite3.connect(target, isolation_level=None)
        try:
            return _import(source, connection, codec)
        finally:
            connection.close()
    except BaseException as error:
        for path in (target, target.with_name(f"{target.name}-journal")):
            path.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise StoreRefused(f"log cannot be imported to {target}: {error}") from error
        raise


def _import(source: BinaryIO, connection: sqlite3.Connection, codec: Codec) -> Imported:
    from docket.event_store.migrations import migrate  # slow to import

    connection.execute("PRAGMA synchronous = OFF")  # one that was cut off is not opened: its application id comes last
    migrate(connection)
    lines = _decoded(source)
    connection.execute("BEGIN")
    imported = _Importer(connection, codec).read(lines)
    connection.execute("COMMIT")
    connection.execute(f"PRAGMA application_id = {IMPORTED_ID}")
    return imported


@contextmanager
def unguarded(connection: sqlite3.Connection) -> Iterator[None]:
    """Without the triggers of the log's tables, for rows that stand before its beginning; they are back afterwards."""
    triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f'DROP TRIGGER "{name}"')
    yield
    for _, statement in triggers:
        connection.execute(statement)


class _Importer:
    """Checks lines one after the other and puts them into the tables."""

    def __init__(self, connection: sqlite3.Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self._checker = ChainChecker()
        self._counts: dict[type, int] = {_EventLine: 0, _Recording: 0, _SecretLine: 0}
        self._pending: list[Row] = []
        self._insert = f"INSERT INTO events ({COLUMNS}) VALUES ({','.join('?' * len(COLUMNS.split(',')))})"

    def read(self, lines: Iterator[tuple[int, _Part]]) -> Imported:
        """Take all lines. Raises StoreRefused."""
        take: dict[type, Callable[[Any], None]] = {
            _BeginningLine: self._beginning,
            _LivingLine: self._living,
            _EventLine: self._event,
            _Recording: self._recording,
            _SecretLine: self._secret,
        }
        for number, line in lines:
            try:
                if isinstance(line, _EndLine):
                    self._flush()
                    break
                if type(line) in self._counts:
                    self._counts[type(line)] += 1
                take[type(line)](line)
            except (CorruptEvent, ValueError, OverflowError, sqlite3.IntegrityError) as error:
                raise refused(number, str(error)) from error
        else:
            raise StoreRefused("log cannot be imported: the file is cut off: export it again")
        if next(lines, None) is not None:
            raise refused(number + 1, "there is more behind the end")
        return self._end(number, line)

    def _beginning(self, line: _BeginningLine) -> None:
        """The log goes on behind a hash; it has a seal without an archive, as it had where it comes from."""
        if self._checker.position or line.position < 1:
            raise ValueError("a log begins once, and before its events")
        digest, state = bytes.fromhex(line.hash), line.state.encode()
        self._checker = ChainChecker(line.position, digest)
        with unguarded(self._connection):
            self._connection.execute("INSERT INTO sealed_ranges VALUES (1, ?, ?, 0, 0, 0, x'', 0)", (line.position, digest))
        row = (line.position, digest, 0, line.state_schema, state)
        self._connection.execute(
            "INSERT INTO state_snapshots (position, hash, taken_ns, schema, data, digest) VALUES (?, ?, ?, ?, ?, ?)",
            (*row, snapshot_digest(*row)),
        )

    def _living(self, line: _LivingLine) -> None:
        if self._counts[_EventLine] or line.position > self._checker.position:
            raise ValueError("what is left of older events stands before the others")
        row = self._row(line)
        with unguarded(self._connection):
            self._connection.execute(self._insert, row)

    def _row(self, line: _EventLine) -> Any:
        *columns, digest = msgspec.structs.astuple(line)
        self._codec.decode(line.name, line.schema, line.data, line.position)
        return (*columns, bytes.fromhex(digest))

    def _event(self, line: _EventLine) -> None:
        row = self._row(line)
        self._checker.check(row)
        self._pending.append(row)
        if len(self._pending) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._connection.executemany(self._insert, self._pending)
        self._pending.clear()

    def _recording(self, line: _Recording) -> None:
        values = (line.job, line.created_ns, line.data)
        self._connection.execute("INSERT INTO recordings (job, created_ns, data) VALUES (?, ?, ?)", values)

    def _secret(self, line: _SecretLine) -> None:
        value = b64decode(line.value, validate=True)
        self._connection.execute("INSERT INTO secrets (reference, value) VALUES (?, ?)", (line.reference, value))

    def _end(self, number: int, line: _EndLine) -> Imported:
        events, recordings, secrets = self._counts.values()
        checker = self._checker
        if (line.events, line.hash, line.recordings, line.secrets) != (events, checker.digest.hex(), recordings, secrets):
            raise refused(number, "the end does not fit what came before: lines are missing")
        return Imported(events, recordings, secrets, checker.position, checker.digest)


def _decoded(source: BinaryIO) -> Iterator[tuple[int, _Part]]:
    """What stands behind the header, with the numbers of the lines. Raises StoreRefused."""
    decoder = msgspec.json.Decoder(_Line)
    lines = enumerate(bounded_lines.lines(source), 1)
    first = next(lines, None)
    if first is None:
        raise StoreRefused("log cannot be imported: the file is empty")
    try:
        msgspec.json.decode(first[1], type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreRefused(f"log cannot be imported: it is no log that this docket can read ({error})") from None
    for number, line in lines:
        if number > MAX_LINES:
            raise refused(number, f"more than {MAX_LINES} lines")
        try:
            told: _Line = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise refused(number, str(error)) from None
        yield number, _recording(number, told, lines) if isinstance(told, _RecordingLine) else told


def _recording(number: int, head: _RecordingLine, lines: Iterator[tuple[int, bytes]]) -> _Recording:
    """The recording that begins here. Its lines are opaque: whoever replays it reads them as strictly."""
    data = bytearray()
    for _ in range(head.lines):
        following = next(lines, None)
        if following is None:
            raise refused(number, "the recording is cut off")
        data += following[1] + b"\n"
        if len(data) > bounded_lines.MAX_LINE_BYTES:
            raise refused(number, f"the recording is longer than {bounded_lines.MAX_LINE_BYTES} bytes")
    return _Recording(head.job, head.created_ns, bytes(data))

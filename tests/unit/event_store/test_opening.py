"""Opening a log: only what docket left behind, undamaged, with the durability that was promised."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from docket.domain.errors import CorruptEvent, StoreRefused
from docket.domain.log import Batch
from docket.event_store.codec import Codec
from docket.event_store.opening import SCHEMA
from docket.event_store.sqlite import SqliteEventStore

Append = Callable[..., None]
Noted = Callable[..., Batch]


@pytest.fixture
def log(tmp_path: Path, codec: Codec, noted: Noted, append: Append) -> Path:
    """Write a log of 60 events whose texts can be found in the file."""
    path = tmp_path / "log.db"
    with SqliteEventStore(path, codec) as store:
        append(store, *[noted(f"stream-{n % 5} text-number-{n:04}", secrets={f"ref-{n}": b"value"}) for n in range(1, 61)])
        store.save_recording("j1", b'{"op":"mount"}\n')
    return path


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def drop_triggers(path: Path) -> None:
    """Do what somebody does who really wants to change the past."""
    execute(path, "DROP TRIGGER events_are_not_updated", "DROP TRIGGER events_are_not_deleted")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX modes")
@pytest.mark.parametrize("umask", [0, 0o777])
def test_files_are_private_whatever_the_umask(tmp_path: Path, codec: Codec, noted: Noted, append: Append, umask: int) -> None:
    """Database, WAL, shared memory and lock are the engine's alone; a database that was opened up is closed again."""
    path = tmp_path / "log.db"
    before = os.umask(umask)
    try:
        with SqliteEventStore(path, codec) as store:
            append(store, noted("a"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["log.db", "log.db-wal", "log.db-shm", "log.db.lock"], 0o600)
    path.chmod(0o666)
    SqliteEventStore(path, codec).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_durability_is_read_back(tmp_path: Path, codec: Codec) -> None:
    """WAL and synchronous=FULL hold on the connection that writes."""
    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1)):
            assert store._connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


@pytest.mark.slow
def test_an_existing_log_opens_without_the_migration_library(log: Path, tmp_path: Path) -> None:
    """Start-up stays quick: what only creates or migrates a schema is not imported."""
    program = "import sys, pathlib\nfrom docket.event_store.codec import Codec\n"
    program += "from docket.event_store.sqlite import SqliteEventStore\n"
    program += "SqliteEventStore(pathlib.Path(sys.argv[1]), Codec([])).close()\nprint('sqlite_utils' in sys.modules)"

    def imported(path: Path) -> str:
        return subprocess.run(
            [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert imported(log) == "False"
    assert imported(tmp_path / "new.db") == "True"


def test_a_second_engine_is_refused(log: Path, codec: Codec) -> None:
    """Two engines on one data root would each decide on half of the truth."""
    with SqliteEventStore(log, codec), pytest.raises(StoreRefused, match=f"in use by process {os.getpid()}"):
        SqliteEventStore(log, codec)
    SqliteEventStore(log, codec).close()


def test_a_newer_schema_is_refused_with_what_to_do(log: Path, codec: Codec) -> None:
    """An older docket neither reads nor changes what it does not understand, and lets go of the lock."""
    execute(log, f"PRAGMA user_version = {SCHEMA + 1}", f"INSERT INTO written_by VALUES ({SCHEMA + 1}, '9.8.7')")
    before = log.read_bytes()
    for _ in range(2):
        with pytest.raises(
            StoreRefused, match=rf"schema {SCHEMA + 1}, written by docket 9\.8\.7; .* start that docket or a later"
        ):
            SqliteEventStore(log, codec)
    assert log.read_bytes() == before


def test_the_database_of_another_program_is_refused(tmp_path: Path, codec: Codec) -> None:
    """A mistaken path does not turn somebody's database into a log."""
    path = tmp_path / "photos.db"
    execute(path, "CREATE TABLE photos (name)")
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="database of another program"):
        SqliteEventStore(path, codec)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, codec: Codec) -> None:
    """The message says what to do, and the file stays."""
    path = tmp_path / "log.db"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreRefused, match=r"damaged or no database .*: restore the data root"):
        SqliteEventStore(path, codec)
    assert path.read_bytes() == b"no database " * 1000


def test_a_creation_that_was_cut_off_is_finished(tmp_path: Path, codec: Codec, noted: Noted, append: Append) -> None:
    """A crash between two migrations leaves a file that the next start completes."""
    path = tmp_path / "log.db"
    SqliteEventStore(path, codec).close()
    execute(
        path,
        "PRAGMA user_version = 0",
        "DROP VIEW jobs", "DROP VIEW images", "DROP VIEW containers", "DROP VIEW kernel_calls", "DELETE FROM written_by",
        "DELETE FROM _sqlite_migrations WHERE name = '0003_views'",
    )  # fmt: skip
    with SqliteEventStore(path, codec) as store:
        append(store, noted("a"))
    execute(path, "SELECT * FROM jobs")


def test_s52_an_edited_event_is_refused_by_its_number(log: Path, codec: Codec) -> None:
    """Every column is part of the hash."""
    drop_triggers(log)
    pristine = log.read_bytes()
    for change in (
        "stream = 'x'", "version = 99", "type = 'Other'", "schema = 2", "data = replace(data, 'text', 'test')",
        "data = CAST(data AS BLOB)", "time = time + 1", "job = ''", "causation = 3", "actor = 'uid=1'", "hash = zeroblob(32)",
    ):  # fmt: skip
        log.write_bytes(pristine)
        try:
            execute(log, f"UPDATE events SET {change} WHERE position = 17")
        except sqlite3.IntegrityError as error:
            assert "cannot store BLOB value in TEXT column" in str(error)  # STRICT tables refuse this one already
            continue
        with pytest.raises(StoreRefused, match=r"damaged \(event 17: .*restore the data root"):
            SqliteEventStore(log, codec)


@pytest.mark.parametrize("position", [1, 30])
def test_s52_a_missing_event_is_refused_by_its_number(log: Path, codec: Codec, position: int) -> None:
    """An event cannot be taken out of the chain."""
    drop_triggers(log)
    execute(log, f"DELETE FROM events WHERE position = {position}")
    with pytest.raises(StoreRefused, match=f"event {position}: is missing, the next one in the log is {position + 1}"):
        SqliteEventStore(log, codec)


def test_s52_a_flipped_byte_in_any_event_is_found_by_its_number(log: Path, codec: Codec) -> None:
    """Rot in the text of an event stops the start and names the event."""
    pristine = log.read_bytes()
    for number in range(1, 61):
        where = pristine.index(b"text-number-%04d" % number) + number % 16
        log.write_bytes(pristine[:where] + bytes([pristine[where] ^ 1 << number % 8]) + pristine[where + 1 :])
        with pytest.raises(StoreRefused, match=rf"\(event {number}: "):
            SqliteEventStore(log, codec)


@pytest.mark.slow
def test_s52_a_flipped_byte_anywhere_is_found_or_harmless(log: Path, codec: Codec) -> None:
    """A thousand flipped bytes over the whole file: start or verify refuses, or all that was kept is still there, unchanged."""
    pristine = log.read_bytes()
    expected = _contents(log, codec)
    step = max(1, len(pristine) // 1000)
    found = 0
    for where in range(0, len(pristine), step):
        if not any(pristine[where // 64 * 64 :][:64]):
            continue  # free space: zero bytes that nothing refers to
        log.write_bytes(pristine[:where] + bytes([pristine[where] ^ 0x11]) + pristine[where + 1 :])
        try:
            assert _contents(log, codec) == expected, where
        except (StoreRefused, CorruptEvent):
            found += 1
    assert found > 200


def _contents(log: Path, codec: Codec) -> list[object]:
    """Verify the log and read all of its events; the note that an earlier damage left is not this one's."""
    log.with_name("log.db.damage").unlink(missing_ok=True)
    with SqliteEventStore(log, codec) as store:
        store.verify()
        return [*store.read(), *store.read_for_fold(), *store.read(job="j1"), *store.read(stream="stream-1")]


@pytest.fixture
def snapshotted(log: Path, codec: Codec, noted: Noted, append: Append) -> Path:
    """Continue the log with a snapshot at 60 and five events behind it."""
    with SqliteEventStore(log, codec) as store:
        store.save_snapshot(30, b"state at thirty")
        store.save_snapshot(60, b"state at sixty")
        append(store, *[noted(f"tail text-number-{n:04}") for n in range(61, 66)])
    return log


def test_only_the_tail_is_checked_at_start_and_all_by_verify(snapshotted: Path, codec: Codec) -> None:
    """Start-up does not depend on the length of the log; the whole chain is the auditor's."""
    drop_triggers(snapshotted)
    execute(snapshotted, "UPDATE events SET actor = 'nobody' WHERE position = 12")
    with SqliteEventStore(snapshotted, codec) as store:
        assert store.load_snapshot() == (60, b"state at sixty")
        with pytest.raises(CorruptEvent, match="event 12: does not match its hash"):
            store.verify()
        assert store.verify(60).events == 5


def test_s52_damage_that_a_check_found_stops_the_next_start(snapshotted: Path, codec: Codec) -> None:
    """Old damage is no reason to end a running engine, but none starts on it, until the log is whole again."""
    pristine = snapshotted.read_bytes()
    drop_triggers(snapshotted)
    execute(snapshotted, "UPDATE events SET actor = 'nobody' WHERE position = 12")
    with SqliteEventStore(snapshotted, codec) as store, pytest.raises(CorruptEvent):
        store.verify(5, 20)
    for _ in range(2):
        with pytest.raises(StoreRefused, match=r"event log .* is damaged \(event 12: does not match its hash"):
            SqliteEventStore(snapshotted, codec)
    snapshotted.write_bytes(pristine)
    with SqliteEventStore(snapshotted, codec) as store:
        store.verify()
    assert sorted(path.name for path in snapshotted.parent.iterdir()) == ["log.db", "log.db.lock"]


def test_a_check_in_pieces_finds_what_one_check_finds(snapshotted: Path, codec: Codec) -> None:
    """Each piece is chained to the one before it, and the end of the log is an end and no gap."""
    with SqliteEventStore(snapshotted, codec) as store:
        position, pieces = 0, []
        while position < store.head():
            report = store.verify(position, 20)
            pieces.append(report.events)
            position = report.position
        assert pieces == [20, 20, 20, 5]
        assert report.hash == store.verify().hash
    drop_triggers(snapshotted)
    execute(snapshotted, "UPDATE events SET hash = zeroblob(32) WHERE position = 20")
    with SqliteEventStore(snapshotted, codec) as store:
        with pytest.raises(CorruptEvent, match="event 20: "):
            store.verify(0, 20)
        with pytest.raises(CorruptEvent, match="event 21: "):
            store.verify(20, 20)


@pytest.mark.parametrize("position", [60, 61, 65])
def test_s52_damage_in_the_tail_is_refused(snapshotted: Path, codec: Codec, position: int) -> None:
    """The tail is anchored at the snapshot's own copy of the hash."""
    drop_triggers(snapshotted)
    execute(snapshotted, f"UPDATE events SET hash = zeroblob(32) WHERE position = {position}")
    with pytest.raises(StoreRefused, match=rf"\(event {position}: "):
        SqliteEventStore(snapshotted, codec)


def test_a_log_that_ends_before_its_snapshot_is_refused(snapshotted: Path, codec: Codec) -> None:
    """Cutting off the end does not go unseen when a snapshot knows of it."""
    drop_triggers(snapshotted)
    execute(snapshotted, "DELETE FROM events WHERE position > 50")
    with pytest.raises(StoreRefused, match=r"\(event 60: is missing"):
        SqliteEventStore(snapshotted, codec)


def test_a_damaged_snapshot_is_dropped_for_the_one_before(snapshotted: Path, codec: Codec) -> None:
    """Snapshots are copies: the engine folds more events instead of starting from rot."""
    execute(snapshotted, "UPDATE state_snapshots SET data = x'00' WHERE position = 60")
    with SqliteEventStore(snapshotted, codec) as store:
        assert store.load_snapshot() == (30, b"state at thirty")
    execute(snapshotted, "UPDATE state_snapshots SET taken_ns = taken_ns + 1")
    with SqliteEventStore(snapshotted, codec) as store:
        assert store.load_snapshot() is None


def test_snapshots_of_another_state_shape_are_not_used(snapshotted: Path, codec: Codec) -> None:
    """A docket whose state has another shape folds the log again."""
    with SqliteEventStore(snapshotted, codec, state_schema=2) as store:
        assert store.load_snapshot() is None
        store.save_snapshot(65, b"new shape")
    with SqliteEventStore(snapshotted, codec, state_schema=2) as store:
        assert store.load_snapshot() == (65, b"new shape")


@pytest.mark.slow
def test_a_wal_cut_at_any_byte_leaves_whole_batches(tmp_path: Path, codec: Codec, noted: Noted, append: Append) -> None:
    """A power cut in the middle of a write: what opens is a beginning of the log, batch by batch, never half a batch."""
    path = tmp_path / "log.db"
    store = SqliteEventStore(path, codec)
    append(store, *[noted(f"a {n}", f"b {n}", f"c {n}") for n in range(8)])
    database, wal = path.read_bytes(), path.with_name("log.db-wal").read_bytes()
    store.close()
    (tmp_path / "cut").mkdir()
    copy = tmp_path / "cut" / "log.db"
    heads = []
    for length in range(0, len(wal) + 1, 1031):
        copy.write_bytes(database)
        copy.with_name("log.db-wal").write_bytes(wal[:length])
        with SqliteEventStore(copy, codec) as cut:
            assert cut.verify().events == cut.head()
            heads.append(cut.head())
    shutil.rmtree(tmp_path / "cut")
    assert heads == sorted(heads)
    assert set(heads) >= {0, 12, 21}
    assert all(head % 3 == 0 for head in heads)

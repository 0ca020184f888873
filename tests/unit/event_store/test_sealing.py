"""Sealed ranges: what is read, checked and exported is the same wherever events lie; a crash loses nothing."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
from tests.simulation.power import Tracer, materialise, states

from docket.domain.errors import CorruptEvent, EventsDropped, StoreError, StoreFailed
from docket.domain.log import Batch, Event, Fate, Metadata, Seal
from docket.event_store import archive, migrations
from docket.event_store.codec import Codec
from docket.event_store.exchange import import_log
from docket.event_store.memory import MemoryEventStore
from docket.event_store.read_only import ReadOnlyEventStore
from docket.event_store.sealing import archive_upto
from docket.event_store.sqlite import SqliteEventStore


class Noted(Event, frozen=True):
    """Text in a stream; the streams whose names begin with ``x`` have ended when they are sealed."""

    name: str
    text: str = ""

    @property
    def stream(self) -> str:
        return self.name


CODEC = Codec([Noted])
Store = MemoryEventStore | SqliteEventStore


def fate(stream: str) -> Fate:
    return Fate.ENDED if stream.startswith("x") else Fate.LIVES


def sealing(seal: Seal, state: bytes = b"{}") -> Batch:
    return Batch((Noted("engine", f"sealed {seal.last}"),), Metadata(9_000, "compact"), folds={seal.last: state}, seal=seal)


def dropping(upto: int, state: bytes = b"{}") -> Batch:
    return Batch((Noted("engine", f"dropped {upto}"),), Metadata(9_500, "compact"), folds={upto: state}, drop_upto=upto)


async def fill(store: Store, count: int = 40) -> None:
    """Streams x0, x1, …, and one that lives; time goes on by 10 with each."""
    for number in range(count):
        name = "living" if number % 4 == 0 else f"x{number % 7}"
        await store.append(Batch((Noted(name, f"text {number}"),), Metadata(10 * (number + 1), f"job{number % 3}")))


async def seal_upto(store: Store, upto: int, state: bytes = b"{}") -> Seal:
    seal = store.archive(upto)
    await store.append(sealing(seal, state))
    for _ in store.trim(fate):
        pass
    return seal


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryEventStore(CODEC) if request.param == "memory" else SqliteEventStore(tmp_path / "log.db", CODEC)
    yield made
    made.close()


def rows_left(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [position for (position,) in connection.execute("SELECT position FROM events ORDER BY position")]


# What both stores promise.


async def test_sealing_changes_nothing_that_a_reader_sees(store: Store) -> None:
    """Events, filters, limits, folds and lookups of times are the same before and after; no position is left out or repeated."""
    await fill(store)

    def look() -> list[object]:
        return [
            list(store.read(0, 40)),
            list(store.read(0, 40, stream="x3")),
            list(store.read(0, 40, job="job1", types=("Noted",))),
            list(store.read(7, 33, limit=20)),
            list(store.read_for_fold(0, 40)),
            list(store.read_for_fold(13, 27)),
            [store.position_at(time) for time in (0, 10, 115, 240, 400)],
            [event.metadata.time_ns for event in store.read(store.position_before(215), 40) if event.metadata.time_ns >= 215],
        ]

    before = look()
    await seal_upto(store, 16)
    await seal_upto(store, 30)
    assert look() == before
    assert [seal.last for seal in store.sealed()] == [16, 30]
    assert store.verify().events == 42
    assert store.head() == 42


async def test_a_stream_goes_on_with_its_version_behind_a_seal(store: Store) -> None:
    """The version of a stream that lives counts on though its events lie in an archive."""
    await fill(store)
    versions = [stored.version for stored in store.read(stream="living")]
    await seal_upto(store, 40)
    (stored,) = await store.append(Batch((Noted("living"),), Metadata(1), expected={"living": versions[-1]}))
    assert stored.version == versions[-1] + 1
    assert stored.position == 42


async def test_what_was_dropped_is_refused_and_the_rest_still_verifies(store: Store) -> None:
    """Reading goes on behind it; folding from before it is an error that says so; positions stay what they were."""
    await fill(store)
    await seal_upto(store, 16, b"sixteen")
    await seal_upto(store, 30, b"thirty")
    rest = [stored.position for stored in store.read(16)]
    await store.append(dropping(16, b"sixteen"))
    store.sweep()
    assert store.floor() == 16
    assert [stored.position for stored in store.read()] == [*rest, 43]
    with pytest.raises(EventsDropped, match="events up to 16 are no longer kept"):
        list(store.read_for_fold())
    assert len(list(store.read_for_fold(16))) == 27
    assert store.load_snapshot(20) == (16, b"sixteen")
    assert store.load_snapshot(15) is None
    report = store.verify()
    assert (report.events, report.position, report.floor) == (27, 43, 16)


async def test_a_seal_begins_where_the_last_one_ended(store: Store) -> None:
    """Nothing is sealed twice, and nothing that is not there."""
    await fill(store)
    await seal_upto(store, 16)
    for upto in (16, 3, 99):
        with pytest.raises(StoreFailed, match="cannot be sealed"):
            store.archive(upto)


async def test_a_log_without_its_beginning_moves_to_another_machine(store: Store, tmp_path: Path) -> None:
    """What is exported behind a dropped archive is imported with the fold that stands for it, and verifies."""
    await fill(store)
    await seal_upto(store, 16, b'{"position":16}')
    await store.append(dropping(16, b'{"position":16}'))
    data = b"".join(store.export())
    found = import_log(io.BytesIO(data), tmp_path / "imported.db", CODEC)
    assert (found.events, found.position) == (26, 42)
    with closing(ReadOnlyEventStore(tmp_path / "imported.db", CODEC)) as looked_at:
        assert looked_at.floor() == 16
        assert list(looked_at.read()) == list(store.read())
        assert looked_at.load_snapshot(16) == (16, b'{"position":16}')
        assert looked_at.verify().events == 26


async def test_an_archived_log_moves_whole(store: Store, tmp_path: Path) -> None:
    """Archived events are exported with the others, and hostile triggers are in force again in what was imported."""
    await fill(store)
    await seal_upto(store, 30)
    import_log(io.BytesIO(b"".join(store.export())), tmp_path / "imported.db", CODEC)
    with closing(ReadOnlyEventStore(tmp_path / "imported.db", CODEC)) as looked_at:
        assert list(looked_at.read()) == list(store.read())
    with closing(sqlite3.connect(tmp_path / "imported.db")) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("DELETE FROM events WHERE position = 1")


# The files and the table.


async def test_only_what_lives_is_left_in_the_table(tmp_path: Path) -> None:
    """Of sealed events the newest of a living stream stays; all of what has ended goes."""
    with SqliteEventStore(tmp_path / "log.db", CODEC) as store:
        await fill(store)
        await seal_upto(store, 30)
    assert rows_left(tmp_path / "log.db") == [29, *range(31, 42)]


async def test_a_start_needs_no_archive(tmp_path: Path) -> None:
    """The chain goes on behind the seal; with the archive lost the engine starts, and a check names the event."""
    path = tmp_path / "log.db"
    with SqliteEventStore(path, CODEC) as store:
        await fill(store)
        await seal_upto(store, 30, b"thirty")
    shutil.rmtree(archive.directory(path))
    with SqliteEventStore(path, CODEC) as store:
        assert store.load_snapshot() == (30, b"thirty")
        assert [stored.position for stored in store.read(30)] == list(range(31, 42))
        for limit in (None, 10):
            with pytest.raises(CorruptEvent, match=r"event 1: lies in the archive .* which is missing"):
                store.verify(0, limit)
        with pytest.raises(StoreFailed, match="cannot be opened"):
            list(store.read())


@pytest.mark.parametrize("limit", [None, 10])
@pytest.mark.parametrize("damage", ["bit", "cut", "other"])
async def test_s52_a_changed_archive_is_noticed(tmp_path: Path, damage: str, limit: int | None) -> None:
    """One bit, a missing end, or another range in its place: the check, quick or whole, names the range's first event."""
    path = tmp_path / "log.db"
    with SqliteEventStore(path, CODEC) as store:
        await fill(store)
        await seal_upto(store, 16)
        await seal_upto(store, 30)
        first, second = sorted(archive.directory(path).iterdir())
        data = bytearray(second.read_bytes())
        data[len(data) // 2] ^= 1
        second.write_bytes({"bit": bytes(data), "cut": data[:-9], "other": first.read_bytes()}[damage])
        with pytest.raises(CorruptEvent, match="event 17"):
            store.verify(0 if limit is None else 16, limit)


async def test_s52_a_changed_seal_is_noticed(tmp_path: Path) -> None:
    """Seals, and rows that stay of sealed events, are under the same guard as events: SQL is refused, other tools are found out."""
    path = tmp_path / "log.db"
    with SqliteEventStore(path, CODEC) as store:
        await fill(store)
        await seal_upto(store, 30)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in (
            "UPDATE sealed_ranges SET hash = x'00'",
            "UPDATE sealed_ranges SET last = 35",
            "DELETE FROM sealed_ranges",
            "INSERT INTO sealed_ranges SELECT 31, 40, hash, 0, 0, 0, digest, 1 FROM sealed_ranges",
            "INSERT INTO sealed_ranges SELECT 31, 41, hash, 0, 0, 0, x'00', 1 FROM events WHERE position = 41",
            "DELETE FROM events WHERE position = 31",
            "UPDATE events SET data = '{}' WHERE position = 29",
        ):
            with pytest.raises(sqlite3.IntegrityError, match=r"never|only"):
                connection.execute(statement)
        connection.execute("DROP TRIGGER events_are_not_updated")
        connection.execute("""UPDATE events SET data = '{"name":"living"}' WHERE position = 29""")
    with SqliteEventStore(path, CODEC) as store, pytest.raises(CorruptEvent, match="event 29: is not in the table as it is"):
        store.verify()


async def test_a_reader_that_is_overtaken_misses_and_repeats_nothing(tmp_path: Path) -> None:
    """A slow reader holds a place that is sealed, and then dropped, while it reads: each position once, in order."""
    with SqliteEventStore(tmp_path / "log.db", CODEC) as store:
        await fill(store, 1_300)
        slow, slower, folding = store.read(), store.read(), store.read_for_fold()
        seen = [next(slow).position for _ in range(3)]
        seen_too = [next(slower).position for _ in range(3)]
        folded = [next(folding)[2] for _ in range(3)]
        await seal_upto(store, 600)
        await seal_upto(store, 1_200)
        seen += [next(slow).position for _ in range(700)]
        await store.append(dropping(1_200))
        store.sweep()
        seen += [stored.position for stored in slow]
        assert seen == sorted(set(seen))
        assert seen[:700] == list(range(1, 701)), "what was under way came from the open archive"
        seen_too += [stored.position for stored in slower]
        assert seen_too == [*range(1, 501), *range(1_201, store.head() + 1)]
        with pytest.raises(EventsDropped):
            folded += [position for _, _, position in folding]


async def test_damaged_events_are_never_sealed(tmp_path: Path) -> None:
    """What does not fit the chain stays where it is, and no archive is left of the attempt."""
    path = tmp_path / "log.db"
    with SqliteEventStore(path, CODEC) as store:
        await fill(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER events_are_not_updated")
        connection.execute("""UPDATE events SET data = '{"name":"x1","text":"forged"}' WHERE position = 9""")
    with pytest.raises(CorruptEvent, match="event 9"):
        archive_upto(path, CODEC, 20)
    archive.sweep(path, [])
    assert list(archive.directory(path).iterdir()) == []


async def test_s57_a_hostile_archive_is_read_within_limits(tmp_path: Path) -> None:
    """What stands in an archive's place is an error that names the event, and nothing else: no gzip, no JSON, a link, a bomb."""
    path = tmp_path / "log.db"
    with SqliteEventStore(path, CODEC) as store:
        await fill(store)
        await seal_upto(store, 30)
        (file,) = archive.directory(path).iterdir()
        head = gzip.decompress(file.read_bytes()).splitlines(keepends=True)[0]
        for content in (
            b"",
            b"rubbish",
            gzip.compress(b"[]\n"),
            gzip.compress(head + b"[1]\n"),
            gzip.compress(head + b"\xff\n"),
        ):
            file.write_bytes(content)
            with pytest.raises(StoreError):
                list(store.read())
        file.write_bytes(gzip.compress(head + b"[" * (17 << 20)))
        with pytest.raises(CorruptEvent):
            list(store.read())
        file.unlink()
        file.symlink_to("/etc/passwd")
        if hasattr(os, "O_NOFOLLOW"):
            with pytest.raises(StoreFailed):
                list(store.read())


async def test_the_same_range_is_the_same_archive(tmp_path: Path) -> None:
    """An archive holds no time and no name of its own, so it can be compared and stored elsewhere by its digest."""
    with SqliteEventStore(tmp_path / "log.db", CODEC) as store:
        await fill(store)
        assert store.archive(20) == store.archive(20)


# Crashes.


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target / "log.db"


async def _compact(store: SqliteEventStore, passes: Callable[[str], None]) -> None:
    """A whole compaction, with a point between any two things that reach the disk."""
    passes("begin")
    store.sweep()
    passes("swept")
    seal = store.archive(30)
    passes("archived")
    ticket = store.submit(sealing(seal, b"thirty"))
    passes("submitted")
    await ticket.durable()
    passes("sealed")
    for _ in store.trim(fate):
        passes("trimmed a piece")
    await store.append(dropping(16, b"sixteen"))
    passes("dropped")
    store.sweep()
    passes("ended")


async def test_killed_at_any_point_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files as they are at each point are opened: every event is there, once, in order; the next compaction ends the work."""
    monkeypatch.setattr("docket.event_store.sealing._PIECE", 5)
    home = tmp_path / "home"
    home.mkdir()
    copies: list[tuple[str, Path]] = []

    def copy(what: str) -> None:
        copies.append((what, _copy(home, tmp_path / f"{len(copies)}")))

    with SqliteEventStore(home / "log.db", CODEC) as store:
        await fill(store)
        await seal_upto(store, 16, b"sixteen")
        everything = list(store.read())
        await _compact(store, copy)
    assert len({what for what, _ in copies}) == 8
    for what, path in copies:
        with SqliteEventStore(path, CODEC) as again:
            floor = again.floor()
            assert floor == (16 if what in ("dropped", "ended") else 0), what
            assert list(again.read(floor, 41)) == everything[floor:], what
            assert again.verify().position == again.head(), what
            if again.sealed()[-1].last < 30:
                again.sweep()
                await seal_upto(again, 30, b"thirty")
            for _ in again.trim(fate):
                pass
            again.sweep()
            assert list(again.read(floor, 41)) == everything[floor:], what
            assert again.load_snapshot(30) == (30, b"thirty"), what
            assert len(list(archive.directory(path).iterdir())) == sum(seal.kept for seal in again.sealed())
            assert len([left for left in rows_left(path) if left <= 30]) == 1, what


def test_no_power_cut_leaves_half_an_archive_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after every step of making one, with every unsynced change there or not: what the seal will name is whole once it is
    durable, and before that what is there of it hinders nobody."""
    root = tmp_path / "root"
    root.mkdir()
    with SqliteEventStore(root / "log.db", CODEC) as store:
        trio.run(fill, store)
        tracer = Tracer(root)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(archive, "os", tracer)
            seal = store.archive(20)
        made = tracer.step
        expected = list(archive.read(root / "log.db", seal))
        count = 0
        for step, changes in states(tracer):
            target = tmp_path / f"cut{count}"
            count += 1
            target.mkdir()
            materialise(changes, os.path.realpath(root), target, cut=lambda data: data[: len(data) // 2])
            if step >= made:
                archive.check(target / "log.db", seal)
                assert list(archive.read(target / "log.db", seal)) == expected
            archive.sweep(target / "log.db", [seal] if step >= made else [])
        assert count > 20


@pytest.mark.parametrize("number", range(1, 8))
def test_a_disk_error_makes_no_archive(tmp_path: Path, number: int) -> None:
    """The n-th write or fsync fails: it is told, the log is as before, and the next attempt makes the archive."""
    with SqliteEventStore(tmp_path / "log.db", CODEC) as store:
        trio.run(fill, store)
        tracer = Tracer(tmp_path, number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(archive, "os", tracer)
            try:
                store.archive(20)
                failed = False
            except StoreFailed as error:
                failed = True
                assert "no archive was made" in str(error)
        assert failed == (tracer._fallible >= number)
        assert len(list(store.read())) == 40
        store.sweep()
        archive.check(tmp_path / "log.db", store.archive(20))


async def test_a_refused_seal_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """A seal that the database refuses fails with its event: neither is there, and the log goes on."""
    with SqliteEventStore(tmp_path / "log.db", CODEC) as store:
        await fill(store)
        seal = store.archive(20)
        await store.append(sealing(seal))
        with pytest.raises(StoreFailed, match="seals are only appended"):
            await store.append(sealing(seal))
        assert store.head() == 41
        await store.append(Batch((Noted("living"),), Metadata(1)))
        assert store.verify().events == 42


def test_an_older_log_is_migrated_and_looked_at(tmp_path: Path) -> None:
    """A log of the first schema opens as it is for reading, and is migrated when an engine opens it."""
    path = tmp_path / "log.db"
    with SqliteEventStore(path, CODEC) as store:
        trio.run(fill, store)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in migrations._SEALED_REFUSALS:
            connection.execute(f"DROP TRIGGER {name}")
        for name in set(migrations._REFUSALS) & set(migrations._SEALED_REFUSALS):
            connection.execute(f"CREATE TRIGGER {name} {migrations._REFUSALS[name]}")
        connection.execute("DROP TABLE sealed_ranges")
        connection.execute("DROP INDEX events_time")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = '0004_sealed_ranges'")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("DELETE FROM written_by WHERE schema = 2")
    with closing(ReadOnlyEventStore(path, CODEC)) as looked_at:
        assert len(list(looked_at.read())) == 40
        assert (looked_at.verify().events, looked_at.floor(), looked_at.position_at(115)) == (40, 0, 11)
    with SqliteEventStore(path, CODEC) as store:
        trio.run(seal_upto, store, 30)
        assert store.verify().events == 41


def test_times_are_looked_up_in_the_index(tmp_path: Path) -> None:
    """Neither lookup walks along the events."""
    with SqliteEventStore(tmp_path / "log.db", CODEC) as store:
        trio.run(fill, store)
        for query in (
            "SELECT position FROM events WHERE time <= 5 AND position > 0 ORDER BY time DESC, position DESC LIMIT 1",
            "SELECT min(+position) FROM events WHERE time >= 5 AND position > 0",
        ):
            plan = [row[3] for row in store._reader.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert any("events_time" in step for step in plan), plan
            assert not any(step.startswith("SCAN") for step in plan), plan


async def test_a_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    """All events of a time and later stand behind the position that is given for it, whatever the clock did."""
    with SqliteEventStore(tmp_path / "log.db", CODEC) as store:
        for time in (10, 20, 30, 15, 25):
            await store.append(Batch((Noted("living"),), Metadata(time)))
        assert store.position_before(22) == 2
        assert store.position_at(27) == 5
        assert store.position_before(99) == 5
        assert store.position_at(1) == 0

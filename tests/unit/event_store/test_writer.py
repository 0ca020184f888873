"""The writing thread: shared commits, crashes in their middle, full disks."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from docket.domain.errors import StoreFailed, VersionConflict
from docket.domain.log import Batch
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore

Noted = Callable[..., Batch]
LONG = "x" * 3000


@pytest.fixture
def store(tmp_path: Path, codec: Codec) -> Iterator[SqliteEventStore]:
    with SqliteEventStore(tmp_path / "log.db", codec) as opened:
        yield opened


def fill_up(store: SqliteEventStore) -> None:
    """Let the database grow no further, as on a full disk; the writer must have nothing to do."""
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")


def make_space(store: SqliteEventStore) -> None:
    store._connection.execute("PRAGMA max_page_count = 1073741823")


def commits(store: SqliteEventStore) -> list[str]:
    """Trace the statements of the writer's connection."""
    trace: list[str] = []
    store._connection.set_trace_callback(trace.append)
    return trace


async def test_batches_that_wait_share_a_commit(store: SqliteEventStore, noted: Noted) -> None:
    """While the disk is busy work piles up, and one transaction takes all of it."""
    trace = commits(store)
    tickets = [store.submit(noted(f"s{n} text", secrets={f"r{n}": b"x"})) for n in range(300)]
    for ticket in tickets:
        await ticket.durable()
    assert 1 <= trace.count("COMMIT") < 100
    assert store.verify().events == 300


async def test_many_appenders_all_become_durable(store: SqliteEventStore, noted: Noted) -> None:
    """Concurrent writers: no append is lost, doubled or out of order in its stream."""

    async def appender(number: int) -> None:
        for version in range(20):
            (event,) = await store.append(noted(f"s{number} {version}"))
            assert event.version == version + 1
            assert store.head() >= event.position

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(appender, number)
    assert store.verify().events == 1000


async def test_a_batch_larger_than_one_statement_is_written(store: SqliteEventStore, noted: Noted) -> None:
    """Rows are spread over statements of limited size, in order."""
    await store.append(noted(*[f"s{n % 3} {n}" for n in range(5000)]))
    assert [event.event.text for event in store.read()] == [str(n) for n in range(5000)]  # type: ignore[attr-defined]
    store.verify()


async def test_a_full_disk_keeps_nothing_and_heals(store: SqliteEventStore, noted: Noted) -> None:
    """StoreFailed, then heads, versions and hashes are those of the disk, and appends go on when there is space."""
    await store.append(noted("a"))
    fill_up(store)
    with pytest.raises(StoreFailed, match="nothing of it was kept: database or disk is full"):
        await store.append(noted(*[f"a {LONG}"] * 50, secrets={"r": b"x"}))
    assert (store.head(), store.generation, store.secret("r")) == (1, 1, None)
    make_space(store)
    (event,) = await store.append(noted("a"))
    assert (event.position, event.version) == (2, 2)
    assert store.verify().events == 2


async def test_what_follows_a_refused_batch_is_refused_too(store: SqliteEventStore, noted: Noted) -> None:
    """Batches in flight were decided on events that do not exist; the next decision works on what the log holds."""
    fill_up(store)
    tickets = [store.submit(noted(*[f"a {LONG}"] * 50))] + [store.submit(noted("small")) for _ in range(300)]
    for ticket in tickets:
        with pytest.raises(StoreFailed):
            await ticket.durable()
    assert store.generation >= 1
    assert store.head() == 0
    make_space(store)
    assert [event.position for event in await store.append(noted("a", "b"))] == [1, 2]
    assert store.verify().events == 2


async def test_a_batch_of_an_older_generation_is_refused_without_a_try(store: SqliteEventStore, noted: Noted) -> None:
    """Also when the disk has space again by then."""
    fill_up(store)
    refused = store.submit(noted(*[f"a {LONG}"] * 50))
    # No checkpoint here: trio's thread, and so the generation, stands still while the writer fails and goes on.
    while store._writer._generation == 0:
        store._writer._thread.join(0.001)
    make_space(store)
    late = store.submit(noted("small"))
    with pytest.raises(StoreFailed, match="database or disk is full"):
        await refused.durable()
    with pytest.raises(StoreFailed, match="follows one that the disk refused"):
        await late.durable()
    assert store.head() == 0
    await store.append(noted("small"))


async def test_a_snapshot_that_does_not_fit_costs_no_event(
    store: SqliteEventStore, noted: Noted, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit is tried again without what can be made again, and the loss is logged."""
    await store.append(noted("a", "a", "a"))
    fill_up(store)
    store.save_snapshot(3, bytes(100_000))
    store.save_recording("j1", bytes(100_000))
    (event,) = await store.append(noted("b"))
    await store.append(noted())
    assert event.position == 4
    assert store.generation == 0
    assert store.load_snapshot() is None
    assert "lost" in caplog.text
    assert "state snapshot at 3" in caplog.text


async def test_a_snapshot_of_refused_events_is_dropped(store: SqliteEventStore, noted: Noted) -> None:
    """It holds events that do not exist: others stand at their positions by the time it could be written."""
    await store.append(noted("a"))
    fill_up(store)
    with pytest.raises(StoreFailed):
        await store.append(noted("b", *[f"a {LONG}"] * 50))
    make_space(store)
    await store.append(noted("c"))
    store.generation -= 1  # as it was when the snapshot was taken; it stood in the queue since
    store.save_snapshot(2, b"with b")
    store.generation += 1
    await store.append(noted())
    assert store.head() == 2
    assert store.load_snapshot() is None


async def test_a_refusal_says_what_to_do(store: SqliteEventStore, noted: Noted) -> None:
    """Whoever sees the answer of a request knows why it failed and how it can be repeated."""
    fill_up(store)
    with pytest.raises(StoreFailed, match="disk is full: make room on the disk of the data root, then repeat the request"):
        await store.append(noted(*[f"a {LONG}"] * 50))


async def test_a_foreign_write_stops_the_log(store: SqliteEventStore, noted: Noted) -> None:
    """Somebody who ignores the lock and appends breaks the chain: the log takes no more, rather than building on it."""
    await store.append(noted("a"))
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("INSERT INTO events SELECT 2, stream, 2, type, schema, data, time, job, causation, actor, hash FROM events")
    other.close()
    with pytest.raises(StoreFailed):
        await store.append(noted("a"))
    with pytest.raises(StoreFailed, match="restart the docket daemon"):
        await store.append(noted("b"))


async def test_a_cancelled_wait_cancels_no_append(store: SqliteEventStore, noted: Noted) -> None:
    """Whoever gives up waiting has still appended."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.append(noted("a"))
    await store.append(noted())
    assert store.head() == 1


def test_a_store_outlives_an_event_loop(store: SqliteEventStore, noted: Noted) -> None:
    """Work that a finished trio run left behind is not forgotten by the next."""

    async def submit() -> None:
        store.submit(noted("a"))

    async def conflict() -> None:
        with pytest.raises(VersionConflict):
            store.submit(Batch((), noted().metadata, {}, {"a": 0}))
        (event,) = await store.append(noted("a"))
        assert event.position == 2

    trio.run(submit)
    trio.run(conflict)


CRASH = """
import os, pathlib, sys, trio
from docket.domain.log import Batch, Event, Metadata
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore

class Noted(Event, frozen=True):
    name: str
    text: str = ""
    stream = property(lambda self: self.name)

store = SqliteEventStore(pathlib.Path(sys.argv[1]), Codec([Noted]))

def batch(*names):
    return Batch(tuple(Noted(name) for name in names), Metadata(5), {os.urandom(8).hex(): b"secret"})
"""


def crash(program: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", CRASH + program, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO events", "INSERT INTO secrets", "COMMIT"])
def test_a_crash_between_write_and_commit_keeps_nothing(tmp_path: Path, codec: Codec, statement: str, noted: Noted) -> None:
    """A process that dies at any statement of a transaction leaves the log as the last commit left it."""
    program = """
def die(sql):
    if sql.startswith(sys.argv[2]):
        os._exit(9)

async def main():
    await store.append(batch("a", "b", "c"))
    store._connection.set_trace_callback(die)
    await store.append(batch("d", "e", "f"))

trio.run(main)
"""
    with crash(program, str(tmp_path / "log.db"), statement) as child:
        assert child.wait() == 9
    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        assert store.verify().events == 3
        assert [event.stream for event in store.read()] == ["a", "b", "c"]
        assert store._fetch("SELECT count(*) FROM secrets") == (1,)


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path, codec: Codec) -> None:
    """Killed in full flight: every append that was acknowledged is there, and no batch is there in part."""
    program = """
async def appender(number):
    while True:
        events = await store.append(batch(f"s{number}", f"s{number}", "all"))
        print(events[-1].position, flush=True)

async def main():
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(appender, number)

trio.run(main)
"""
    with crash(program, str(tmp_path / "log.db")) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(500)]
        child.kill()
        acknowledged += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        assert store.head() >= max(acknowledged)
        assert store.head() % 3 == 0
        assert store.verify().events == store.head()


@pytest.mark.root
async def test_a_disk_that_is_really_full(tmp_path: Path, codec: Codec, noted: Noted) -> None:
    """On a small tmpfs: refused when it is full, works again when something was deleted, survives a restart in between."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        with SqliteEventStore(disk / "log.db", codec) as store:
            await store.append(noted("a"))
            free = shutil.disk_usage(disk).free
            (disk / "ballast").write_bytes(bytes(free))
            with pytest.raises(StoreFailed, match="nothing of it was kept"):
                await store.append(noted(*[f"a {LONG}"] * 20))
            os.unlink(disk / "ballast")
            (event,) = await store.append(noted("a"))
            assert (event.position, event.version) == (2, 2)
            assert store.verify().events == 2
        with SqliteEventStore(disk / "log.db", codec) as store:
            assert store.verify().events == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)

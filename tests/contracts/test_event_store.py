"""The contract of the event store: one suite for `MemoryEventStore` and `SqliteEventStore`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.errors import CorruptEvent, StoreFailed, VersionConflict
from docket.domain.log import Batch, Event, Metadata, StoredEvent
from docket.domain.ports import EventStore
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore
from docket.event_store.sqlite import SqliteEventStore


class Noted(Event, frozen=True):
    """Text in a stream."""

    name: str
    text: str = ""

    @property
    def stream(self) -> str:
        return self.name


class Counted(Event, frozen=True):
    """A number in a stream."""

    name: str
    number: int

    @property
    def stream(self) -> str:
        return self.name


class Unregistered(Noted, frozen=True):
    """Not known to the codec."""


CODEC = Codec([Noted, Counted])
Store = MemoryEventStore | SqliteEventStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryEventStore(CODEC) if request.param == "memory" else SqliteEventStore(tmp_path / "log.db", CODEC)
    yield made
    made.close()


def batch(*events: Event, time_ns: int = 5, job: str = "j1", **rest: object) -> Batch:
    return Batch(events, Metadata(time_ns, job, "uid=0"), **rest)  # type: ignore[arg-type]


def test_both_stores_satisfy_the_port(store: Store) -> None:
    """What the domain is typed against is what the stores offer."""
    port: EventStore = store
    assert port.head() == 0


async def test_an_append_gives_positions_versions_and_a_chain(store: Store) -> None:
    """Positions count through the log, versions through the stream, and every hash differs."""
    first = await store.append(batch(Noted("a"), Counted("b", 1)))
    second = await store.append(batch(Noted("a", "again")))
    stored = first + second
    assert [(e.position, e.stream, e.version) for e in stored] == [(1, "a", 1), (2, "b", 1), (3, "a", 2)]
    assert len({e.hash for e in stored}) == 3
    assert list(store.read()) == stored
    assert store.head() == 3


async def test_an_append_without_events_is_a_barrier(store: Store) -> None:
    """An empty batch is durable when all that was submitted before it is."""
    store.submit(batch(Noted("a")))
    assert await store.append(batch()) == []
    assert store.head() == 1


async def test_submitted_batches_keep_their_order(store: Store) -> None:
    """The order of submission is the order of the log, whoever waits first."""
    tickets = [store.submit(batch(Counted("s", n))) for n in range(50)]
    for ticket in reversed(tickets):
        assert await ticket.durable() == ticket.events
    assert [e.event for e in store.read()] == [Counted("s", n) for n in range(50)]


async def test_a_ticket_can_be_awaited_by_many_and_again(store: Store) -> None:
    """Waiting takes nothing away from others who wait."""
    ticket = store.submit(batch(Noted("a")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticket.durable)
        nursery.start_soon(ticket.durable)
    assert await ticket.durable() == ticket.events


async def test_an_unexpected_version_fails_that_batch_alone(store: Store) -> None:
    """A conflict says what to do, keeps nothing of its batch and disturbs no other."""
    before = store.submit(batch(Noted("a")))
    with pytest.raises(VersionConflict, match="stream a is at version 1, not 0: fold it again"):
        store.submit(batch(Noted("b"), Noted("a"), expected={"a": 0}, secrets={"r": b"x"}))
    after = store.submit(batch(Noted("a"), expected={"a": 1, "never": 0}))
    await before.durable()
    await after.durable()
    assert [(e.stream, e.version) for e in store.read()] == [("a", 1), ("a", 2)]
    assert store.secret("r") is None


async def test_only_one_of_many_appenders_gets_a_version(store: Store) -> None:
    """Optimistic concurrency: whoever decided on an older stream decides again."""
    outcomes: list[str] = []

    async def appender(number: int) -> None:
        try:
            await store.append(batch(Counted("s", number), expected={"s": 0}))
            outcomes.append("appended")
        except VersionConflict:
            outcomes.append("conflict")

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(appender, number)
    assert sorted(outcomes) == ["appended"] + ["conflict"] * 19
    assert store.head() == 1


@pytest.mark.parametrize(
    "bad",
    [
        Batch((Noted("a"), Unregistered("a")), Metadata(1)),
        Batch((Noted("a"),), Metadata(2**63)),
        Batch((Noted("a"),), Metadata(-1)),
        Batch((Noted("a"), Noted("\ud800")), Metadata(1)),
        Batch((Noted("a"),), Metadata(1, actor="\ud800")),
    ],
    ids=["type", "late", "early", "stream", "actor"],
)
async def test_what_cannot_be_stored_is_refused_before_anything_is(store: Store, bad: Batch) -> None:
    """A batch that the database could not hold never reaches the commit that it would share with others."""
    with pytest.raises(ValueError):
        store.submit(bad)
    (kept,) = await store.append(batch(Noted("a")))
    assert (kept.position, kept.version) == (1, 1)
    assert store.verify().events == 1


async def test_reading_filters_and_limits(store: Store) -> None:
    """after, upto, stream, types, job and limit, alone and together."""
    for n in range(1, 9):
        event = Noted("even") if n % 2 == 0 else Counted("odd", n)
        await store.append(batch(event, job="j1" if n < 5 else ""))

    def positions(*arguments: int, **filters: object) -> list[int]:
        return [e.position for e in store.read(*arguments, **filters)]  # type: ignore[arg-type]

    assert positions(5) == [6, 7, 8]
    assert positions(2, 4) == [3, 4]
    assert positions(4, 4) == positions(8) == positions(0, 0) == []
    assert positions(stream="odd") == [1, 3, 5, 7]
    assert positions(types=["Noted"]) == [2, 4, 6, 8]
    assert positions(types=[]) == positions(types=["Nothing"]) == []
    assert positions(job="j1") == [1, 2, 3, 4]
    assert positions(job="") == [5, 6, 7, 8]
    assert positions(1, 7, stream="odd", types=["Counted"], job="j1", limit=5) == [3]
    assert positions(limit=3) == [1, 2, 3]
    assert positions(limit=0) == []
    assert [p for _, _, p in store.read_for_fold(2, 5)] == [3, 4, 5]


async def test_more_events_than_a_chunk_are_read_in_order(store: Store) -> None:
    """Reading works in chunks; their borders do not show."""
    await store.append(batch(*[Counted(f"s{n % 7}", n) for n in range(1777)]))
    assert [e.event for e in store.read()] == [e for e, _, _ in store.read_for_fold()]
    assert [p for _, _, p in store.read_for_fold()] == list(range(1, 1778))
    assert len(list(store.read(limit=1500))) == 1500
    assert len(list(store.read(stream="s1"))) == 254


async def test_a_reader_sees_what_is_appended_while_it_reads(store: Store) -> None:
    """An iterator that is not finished neither blocks appends nor misses them."""
    await store.append(batch(*[Counted("s", n) for n in range(1200)]))
    reader = store.read()
    next(reader)
    await store.append(batch(Noted("late")))
    assert sum(1 for _ in reader) == 1200


async def test_reading_works_in_a_worker_thread(store: Store) -> None:
    """Long reads belong in threads: every read has its own connection."""
    await store.append(batch(Noted("a")))
    assert len(await trio.to_thread.run_sync(lambda: list(store.read()))) == 1


async def test_s54_a_forgotten_secret_leaves_the_chain_valid(store: Store) -> None:
    """Secrets stand beside the chain: erasing one changes no event."""
    ticket = store.submit(batch(Noted("a", "ref-1"), secrets={"ref-1": b"hunter2", "ref-2": b""}))
    assert store.secret("ref-1") == b"hunter2"
    await ticket.durable()
    assert store.secret("ref-1") == b"hunter2"
    before = store.verify()
    assert await trio.to_thread.run_sync(store.forget, "ref-1")
    assert not await trio.to_thread.run_sync(store.forget, "ref-1")
    assert store.secret("ref-1") is None
    assert store.secret("ref-2") == b""
    assert store.verify() == before


async def test_a_secret_reference_is_used_once(store: Store) -> None:
    """A second value for a reference would change what earlier events mean."""
    await store.append(batch(secrets={"ref": b"one"}))
    with pytest.raises(ValueError, match="secret reference ref is in use"):
        store.submit(batch(Noted("a"), secrets={"ref": b"two"}))
    assert store.secret("ref") == b"one"


async def test_snapshot_and_tail_equal_the_full_fold(store: Store) -> None:
    """State from a snapshot and the events behind it is state from all events."""
    assert store.load_snapshot() is None
    await store.append(batch(*[Counted("s", n) for n in range(10)]))
    total = sum(e.number for e, _, _ in store.read_for_fold() if isinstance(e, Counted))
    store.save_snapshot(10, str(total).encode())
    await store.append(batch(Counted("s", 100)))
    loaded = store.load_snapshot()
    assert loaded is not None
    position, data = loaded
    tail = sum(e.number for e, _, _ in store.read_for_fold(position) if isinstance(e, Counted))
    assert int(data) + tail == sum(range(10)) + 100


async def test_the_newest_snapshot_is_loaded_and_none_of_the_future(store: Store) -> None:
    """A snapshot of events that do not exist is not kept."""
    await store.append(batch(Noted("a"), Noted("a")))
    store.save_snapshot(2, b"two")
    store.save_snapshot(1, b"one")
    store.save_snapshot(3, b"three")
    await store.append(batch())
    assert store.load_snapshot() == (2, b"two")
    assert store.load_snapshot(1) == (1, b"one")
    assert store.load_snapshot(0) is None


async def test_the_recordings_of_a_job_are_read_as_one(store: Store) -> None:
    """A job that runs several plans has one sequence of lines."""
    store.save_recording("j1", b'{"op":"a"}\n')
    store.save_recording("j2", b'{"op":"b"}')
    store.save_recording("j1", b'{"op":"c"}')
    await store.append(batch())
    assert store.recording("j1") == b'{"op":"a"}\n{"op":"c"}\n'
    assert store.recording("none") is None


async def test_verify_reports_the_head_and_can_begin_anywhere(store: Store) -> None:
    """Position and hash of the report are those of the last event."""
    stored = await store.append(batch(Noted("a"), Noted("b"), Noted("c")))
    report = store.verify()
    assert (report.events, report.position, report.hash) == (3, 3, stored[-1].hash)
    assert store.verify(2).events == 1
    assert store.verify(3).hash == stored[-1].hash
    with pytest.raises(CorruptEvent):
        store.verify(4)


async def test_a_closed_log_takes_nothing(store: Store) -> None:
    """Closing finishes what was submitted and refuses what comes later."""
    ticket = store.submit(batch(Noted("a")))
    store.close()
    store.close()
    await ticket.durable()
    with pytest.raises(StoreFailed, match="closed"):
        store.submit(batch(Noted("a")))


TEXT = st.text(max_size=20)
EVENTS = st.one_of(
    st.builds(Noted, st.sampled_from(["a", "b", "container-ü\0"]), TEXT),
    st.builds(Counted, st.sampled_from(["a", "c"]), st.integers(-(2**63), 2**63 - 1)),
)
BATCHES = st.lists(
    st.builds(
        Batch,
        st.lists(EVENTS, max_size=5).map(tuple),
        st.builds(Metadata, st.integers(0, 2**63 - 1), TEXT, TEXT, st.none() | st.integers(0, 2**63 - 1)),
    ),
    max_size=8,
)


@pytest.mark.slow
@given(batches=BATCHES)
async def test_what_was_appended_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, batches: list[Batch]) -> None:
    """Whatever the events hold: both stores give back equal events, with equal hashes, also after a restart."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    memory = MemoryEventStore(CODEC)
    appended: list[StoredEvent] = []
    with SqliteEventStore(path, CODEC) as sqlite:
        for one in batches:
            appended += await sqlite.append(one)
            await memory.append(one)
        assert list(sqlite.read()) == list(memory.read()) == appended
    with SqliteEventStore(path, CODEC) as again:
        assert list(again.read()) == appended
        assert again.verify() == memory.verify()
        assert again.head() == len(appended)
    assert [e.event for e in appended] == [event for one in batches for event in one.events]

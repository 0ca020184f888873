"""Compaction: the log stays bounded, and what anybody asks of it is answered as before, or refused with a sentence."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from tests.simulation.scenarios import ask, create, execute, import_image, settled, start
from tests.simulation.world import World
from tests.soak.restarts import Loop, fake_kernel, open_engine, soak

from docket.cli.client import Client
from docket.cli.connect import Address, connect
from docket.cli.offline import looked_at
from docket.domain import compaction, snapshots
from docket.domain.compaction import Compact, fate_in
from docket.domain.errors import EventsDropped, StoreFailed
from docket.domain.jobs.fsck import check
from docket.domain.jobs.remove import Remove
from docket.domain.log import Fate
from docket.domain.model.engine.events import LogSealed
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.snapshots import state_at
from docket.event_store.log_reader import LogReader

KEEP = 200
RANGE = 100


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges and state snapshots of few events."""
    monkeypatch.setattr(compaction, "RANGE_EVENTS", RANGE)
    monkeypatch.setattr(snapshots, "EVERY_EVENTS", 50)
    monkeypatch.setattr(snapshots, "_QUIET_ATTEMPTS", 1)
    monkeypatch.setattr(snapshots, "_QUIET_SECONDS", 0.0)


class Seconds:
    """A clock on which a second passes each time it is read."""

    def __init__(self, seconds: int = 1_000_000) -> None:
        self._seconds = seconds

    def pass_seconds(self, seconds: int) -> None:
        self._seconds += seconds

    def now_ns(self) -> int:
        self._seconds += 1
        return self._seconds * 1_000_000_000


def _rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


@pytest.mark.slow
def test_a_crash_loop_leaves_a_bounded_log(tmp_path: Path) -> None:
    """Restarts seal themselves away: as many rows stay after 300 as after 150, and nothing is lost, repeated or out of order."""
    settings = EngineSettings(log_retention_events=KEEP)
    done: Loop = trio.run(soak, tmp_path / "log.db", 300, 3, settings)
    assert done.floor == 0
    assert done.samples[-1].archives >= 5
    assert done.samples[-1].events > 1_300
    assert _rows(tmp_path / "log.db") < KEEP + 4 * RANGE


@pytest.mark.slow
def test_archives_are_bounded_too(tmp_path: Path) -> None:
    """Beyond the size that is kept the oldest go; the engine knows who it is, what it has, and that the rest is whole."""
    settings = EngineSettings(log_retention_events=KEEP, log_retention_bytes=20_000)
    done: Loop = trio.run(soak, tmp_path / "log.db", 200, 3, settings)
    assert done.floor > 0
    assert sum(each.stat().st_size for each in (tmp_path / "log.archive").iterdir()) <= 20_000
    kernel = fake_kernel()

    async def identity() -> str:
        async with open_engine(tmp_path / "log.db", kernel, settings, "third") as engine:
            return engine.state.engine

    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        (created,) = connection.execute(
            "SELECT json_extract(data, '$.engine') FROM events WHERE type = 'EngineCreated'"
        ).fetchone()
    assert trio.run(identity) == created


async def test_what_is_sealed_is_an_event_that_names_it(tmp_path: Path) -> None:
    """The hash of the last event and the digest of the archive are in the chain themselves: who changes a seal is found out."""
    async with open_engine(tmp_path / "log.db", fake_kernel(), EngineSettings(), "one") as engine:
        await import_image(engine, World())
        done = await ask(engine, "compact", request=Compact(keep=1))
        store = engine.ports.store
        (seal,) = store.sealed()
        (event,) = [stored.event for stored in store.read(types=("LogSealed",))]
        assert event == LogSealed(engine.state.engine, 1, seal.last, seal.hash.hex(), seal.digest.hex())
        assert done.sealed == seal.last
        assert done.archived_bytes == seal.size


async def test_compaction_is_off_when_all_events_are_to_stay(tmp_path: Path) -> None:
    """--log-retention-events 0."""
    async with open_engine(tmp_path / "log.db", fake_kernel(), EngineSettings(log_retention_events=0), "one") as engine:
        for _ in range(200):
            await ask(engine, "start", "nobody")
        engine.compaction.consider()
        await ask(engine, "compact")
        assert engine.ports.store.sealed() == []


async def test_secrets_go_with_the_events_that_name_them(tmp_path: Path) -> None:
    """The environment of a removed container goes when its events are dropped, not before; that of one that lives stays."""

    def count() -> int:
        with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM secrets").fetchone()[0])

    async with open_engine(tmp_path / "log.db", fake_kernel(), EngineSettings(), "one") as engine:
        await import_image(engine, World())
        gone, stays = [await create(engine, name) for name in ("gone", "stays")]
        references = [engine.state.containers[key].spec.environment for key in (gone, stays)]
        await ask(engine, "remove", "gone", request=Remove())
        before = count()
        await ask(engine, "compact", request=Compact(keep=1))
        assert count() == before
        engine.settings = msgspec.structs.replace(engine.settings, log_retention_bytes=0)
        await ask(engine, "compact", request=Compact(keep=1))
        assert [engine.ports.store.secret(reference) is None for reference in references] == [True, False]
        assert count() == before - 1


async def test_a_disk_error_fails_the_job_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive cannot be written: the job says so, and the next one makes it."""
    async with open_engine(tmp_path / "log.db", fake_kernel(), EngineSettings(), "one") as engine:
        await import_image(engine, World())
        (tmp_path / "log.archive").write_text("in the way")
        answer = await ask(engine, "compact", request=Compact(keep=1))
        assert isinstance(answer, StoreFailed), answer
        os.unlink(tmp_path / "log.archive")
        assert (await ask(engine, "compact", request=Compact(keep=1))).sealed > 0
        assert engine.ports.store.verify().events == engine.ports.store.head()


async def test_archives_that_are_too_old_are_dropped(tmp_path: Path) -> None:
    """--log-retention-days counts from an archive's newest event; the engine looks when it starts and after state snapshots."""
    clock = Seconds()
    async with open_engine(tmp_path / "log.db", fake_kernel(), EngineSettings(), "one", clock) as engine:
        await import_image(engine, World())
        await ask(engine, "compact", request=Compact(keep=1))
        engine.settings = msgspec.structs.replace(engine.settings, log_retention_age_seconds=3_600)
        engine.compaction.consider()
        await ask(engine, "compact", request=Compact(keep=1))
        assert engine.ports.store.floor() == 0
        clock.pass_seconds(4_000)
        engine.compaction.consider()
        while not any(stored.event for stored in engine.ports.store.read(types=("ArchivesDropped",))):
            await engine.changed()
        assert engine.ports.store.floor() > 0


async def test_a_lost_fold_of_dropped_events_is_told(tmp_path: Path) -> None:
    """Nothing can stand in for it: fsck says so while the engine runs, and the next start is refused."""
    path = tmp_path / "log.db"
    async with open_engine(path, fake_kernel(), EngineSettings(log_retention_bytes=0), "one") as engine:
        await import_image(engine, World())
        await ask(engine, "compact", request=Compact(keep=1))
        floor = engine.ports.store.floor()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM state_snapshots")
        (finding,) = [each for each in (await check(engine)).findings if each.area == "projection"]
        assert f"the fold of the first {floor} events, which are no longer kept, is missing" in finding.problem
        with pytest.raises(EventsDropped):
            state_at(engine.ports.store)


async def test_the_fate_of_streams(tmp_path: Path) -> None:
    """What lives keeps its newest events, what has ended none, and an image that may come again its last one."""
    async with open_engine(tmp_path / "log.db", fake_kernel(), EngineSettings(), "one") as engine:
        image = await import_image(engine, World())
        container = await create(engine, "web")
        fate = fate_in(engine.state)
        assert fate(f"container-{container}") is Fate.LIVES
        assert fate(f"image-{image.removeprefix('sha256:')}") is Fate.LIVES
        assert fate("engine") is Fate.LIVES
        assert fate("image-" + "f" * 64) is Fate.RESTS
        assert {fate(f"{kind}-{'f' * 64}") for kind in ("container", "exec", "job")} == {Fate.ENDED}


# What clients see: the log is looked at with the API, as `docket --log DIRECTORY` does it.


async def _history(path: Path) -> list[dict[str, Any]]:
    """A small history; gives the events."""
    async with open_engine(path, fake_kernel(), EngineSettings(), "one", Seconds()) as engine:
        await import_image(engine, World())
        await create(engine, "gone", ("true",))
        await create(engine, "web")
        await start(engine, "gone")
        await settled(engine, "gone")
        await start(engine, "web")
        await execute(engine, "web", "echo", "hello")
        await ask(engine, "rename", "web", "shop")
        await ask(engine, "remove", "gone", request=Remove())
        for _ in range(4):
            await create(engine, "brief", ("true",), auto_remove=True)
            await start(engine, "brief")
            await settled(engine, "brief")
        return [
            {"position": stored.position, "type": type(stored.event).__name__, "time": stored.metadata.time_ns}
            for stored in engine.ports.store.read()
        ]


async def _go_on(path: Path, keep: int | None, size: int) -> None:
    """The next engine, and with it a compaction or none."""
    async with open_engine(path, fake_kernel(), EngineSettings(log_retention_bytes=size), "two", Seconds(2_000_000)) as engine:
        if keep is not None:
            done = await ask(engine, "compact", request=Compact(keep=keep))
            assert done.sealed, done


class Api:
    """Asks the API of a log."""

    def __init__(self, address: str) -> None:
        self._client = Client(lambda: connect(Address(address), None), "docket", "")

    def lines(self, path: str, **query: object) -> list[dict[str, Any]]:
        response = self._client.request("GET", path, [(name, str(value)) for name, value in query.items()])
        return [json.loads(line) for line in response.lines()]

    def value(self, path: str, **query: object) -> Any:
        return self._client.value("GET", path, [(name, str(value)) for name, value in query.items()])


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[dict[str, Any]]]]:
    """The same history with all events in the log, with the older half in archives, and with those dropped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "RANGE_EVENTS", 20)
        found = {}
        origin = tmp_path_factory.mktemp("origin")
        events = trio.run(_history, origin / "log.db")
        for name, keep, size in (("whole", None, 1 << 30), ("archived", 20, 1 << 30), ("dropped", 20, 0)):
            directory = tmp_path_factory.mktemp(name)
            shutil.copy(origin / "log.db", directory)
            trio.run(_go_on, directory / "log.db", keep, size)
            found[name] = (directory, events)
        return found


@pytest.fixture
def answers(histories: dict[str, tuple[Path, list[dict[str, Any]]]], request: pytest.FixtureRequest) -> Iterator[Api]:
    with looked_at(str(histories[request.param][0])) as address:
        yield Api(address)


def _look(api: Api, events: list[dict[str, Any]]) -> dict[str, Any]:
    """What clients ask for, with times and positions of the history."""
    last = events[-1]["position"]
    times = [event["time"] for event in events]
    stamp = [f"{time // 10**9}.{time % 10**9:09d}" for time in times]
    middle = len(events) // 2
    told = dict.fromkeys(("since", "until"), stamp[-1])
    shown: dict[str, Any] = {
        "log": [event for event in api.lines("/docket/log") if event["position"] <= last],
        "log of a time": api.lines("/docket/log", since=stamp[10], until=stamp[middle]),
        "log of a container": api.lines("/docket/log", container="shop", until=stamp[-1]),
        "log of one that is gone": api.lines("/docket/log", container="gone"),
        "newest of a type": api.lines("/docket/log", type="ContainerStarted", limit=2),
        "log of an image": api.lines("/docket/log", image="tiny", until=stamp[-1]),
        "messages": api.lines("/events", since=stamp[0], until=stamp[-1]),
        "late messages": api.lines("/events", since=stamp[middle], until=stamp[-1]),
        "no messages": api.lines("/events", since=told["since"], until=told["until"]),
    }
    for at in (*range(1, last + 1, 7), *stamp[::9]):
        shown[f"containers at {at}"] = api.value("/containers/json", all=1, at=at)
    return shown


def test_clients_see_no_difference_between_the_log_and_its_archives(
    histories: dict[str, tuple[Path, list[dict[str, Any]]]],
) -> None:
    """The log and its filters, event messages, and the containers of any moment."""
    shown = {}
    for name in ("whole", "archived"):
        directory, events = histories[name]
        with looked_at(str(directory)) as address:
            shown[name] = _look(Api(address), events)
    assert _rows(histories["archived"][0] / "log.db") < _rows(histories["whole"][0] / "log.db")
    assert shown["whole"]["late messages"]
    assert shown["archived"] == shown["whole"]


@pytest.mark.parametrize("answers", ["archived", "dropped"], indirect=True)
def test_fsck_finds_a_compacted_log_sound(answers: Api) -> None:
    """The chain, the folds, every state snapshot and what the SQL views say of what is there."""
    report = answers.value("/docket/fsck")
    assert report["findings"] == []
    assert report["checked"]["projection"] > 3
    assert answers.value("/docket/verify")["ok"]


@pytest.mark.parametrize("answers", ["archived"], indirect=True)
def test_a_job_without_a_recording_says_why(answers: Api, histories: dict[str, tuple[Path, list[dict[str, Any]]]]) -> None:
    """`docket replay` of a create: the job is known, from an archive too, and it asked the kernel nothing."""
    accepted = next(each for each in answers.lines("/docket/log", type="JobAccepted") if each["data"]["name"] == "create")
    with pytest.raises(Exception, match=r"job .* \(create\) asked the kernel nothing"):
        answers.value(f"/docket/replay/{accepted['job']}")


@pytest.mark.parametrize("answers", ["dropped"], indirect=True)
def test_the_past_that_was_dropped_is_refused_with_a_sentence(
    answers: Api, histories: dict[str, tuple[Path, list[dict[str, Any]]]]
) -> None:
    """Before the horizon a moment, or a place in the log, is not known any more; what lies behind it is."""
    events = histories["dropped"][1]
    floor = answers.value("/docket/verify")["floor"]
    assert floor > 20
    for path, query in (
        ("/containers/json", {"at": 3}),
        ("/containers/json", {"at": f"{events[4]['time'] // 10**9}"}),
        ("/docket/log", {"after": 5}),
    ):
        with pytest.raises(Exception, match=f"events up to {floor} are no longer kept"):
            answers.value(path, **query)
    assert answers.lines("/docket/log")[0]["position"] == floor + 1
    assert answers.value("/containers/json", all=1, at=floor)
    assert answers.lines("/docket/log", after=floor)[0]["position"] == floor + 1
    since = f"{events[0]['time'] // 10**9}"
    messages = answers.lines("/events", since=since, until=f"{events[-1]['time'] // 10**9}")
    assert all("name" in each["Actor"]["Attributes"] for each in messages if each["Type"] == "container")


def test_messages_and_moments_are_looked_up_and_not_searched(
    histories: dict[str, tuple[Path, list[dict[str, Any]]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`events --since` and `--at TIME` read from about there on, not from the first event."""
    directory, events = histories["whole"]
    begins: list[int] = []
    for name in ("read", "read_for_fold"):
        method = getattr(LogReader, name)

        def spied(self: LogReader, after: int = 0, *arguments: Any, method: Any = method, **more: Any) -> Any:
            begins.append(after)
            return method(self, after, *arguments, **more)

        monkeypatch.setattr(LogReader, name, spied)
    late = events[-10]
    stamp = f"{late['time'] // 10**9}"
    with looked_at(str(directory)) as address:
        api = Api(address)
        begins.clear()
        api.lines("/events", since=stamp, until=stamp)
        api.lines("/docket/log", since=stamp)
        api.lines("/docket/log", limit=3)
        api.value("/containers/json", all=1, at=stamp)
    assert len(begins) == 5
    assert min(begins) > late["position"] - 60

"""A crash loop on the fake kernel, with a real log: containers end at once and are started again, and the log stays small.

Everything but the kernel is what the daemon has: jobs, state, SQLite, state snapshots and compaction.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio
from tests.simulation.disk import Disk
from tests.simulation.life import Life
from tests.simulation.ports import SimulatedImages
from tests.simulation.scenarios import ask, create, import_image, settled, start
from tests.simulation.world import PLACES, World

from docket.cli.bootstrap import SystemClock
from docket.domain.engine import Engine, Ports
from docket.domain.jobs import JOBS
from docket.domain.jobs.engine import identity_of
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.model.state import EVENT_TYPES, fold
from docket.domain.plan.settings import HostFiles
from docket.domain.ports import Clock
from docket.domain.recovery import recover
from docket.domain.snapshots import beginning, state_at
from docket.event_store import archive
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeRootfs, SequentialIds

_SAMPLES = 10
_REMEMBERED = 200  # processes that have ended


class Sample(msgspec.Struct, frozen=True):
    """How large everything is after some restarts. ``slowest_ms`` is the slowest one since the sample before."""

    restarts: int
    events: int
    log_bytes: int
    archives: int
    archive_bytes: int
    slowest_ms: float


class Loop(msgspec.Struct, frozen=True):
    """What came of it. ``start_seconds`` is how long the next engine took to be there."""

    samples: list[Sample]
    verified: int
    floor: int
    start_seconds: float


async def soak(path: Path, restarts: int, containers: int, settings: EngineSettings) -> Loop:
    """Start ``containers`` again and again, ``restarts`` times in all. Raises AssertionError when the log is wrong then."""
    kernel = fake_kernel()
    async with open_engine(path, kernel, settings, "first") as engine:
        await import_image(engine, World())
        names = [f"crashing{number}" for number in range(containers)]
        for name in names:
            await create(engine, name, ("true",))
        samples = [
            await _round(path, engine, kernel, names, restarts * part // _SAMPLES, restarts * (part + 1) // _SAMPLES)
            for part in range(_SAMPLES)
        ]
        await ask(engine, "compact")
    began = time.monotonic()
    async with open_engine(path, kernel, settings, "second") as engine:
        seconds = time.monotonic() - began
        store = engine.ports.store
        verified = store.verify().events
        before, floor = beginning(store), store.floor()
        assert verified == store.head() - floor, "not every event that is kept was verified"
        again = fold(store.read_for_fold(floor), before)
        assert msgspec.json.encode(again) == msgspec.json.encode(engine.state), "replay is not the state"
        middle = (floor + store.head()) // 2
        assert state_at(store, middle)[0].position == middle
        positions = [stored.position for stored in store.read(middle)]
        assert positions == list(range(middle + 1, store.head() + 1)), "a position is missing or repeated"
        return Loop(samples, verified, floor, seconds)


def fake_kernel() -> FakeKernel:
    """A kernel that remembers no more than what there is."""
    kernel = FakeKernel(clock=FakeClock())
    kernel.make_layer("/srv/shared", system=False)
    return kernel


@asynccontextmanager
async def open_engine(
    path: Path, kernel: FakeKernel, settings: EngineSettings, seed: str, clock: Clock | None = None
) -> AsyncIterator[Engine]:
    """An engine on the fake kernel and the log in ``path``, recovered. ``seed`` decides the ids that it makes."""
    kernel.forget_engine()
    with SqliteEventStore(path, Codec(EVENT_TYPES), state_schema=1) as store:
        clock, ids = clock or SystemClock(), SequentialIds(seed)
        await identity_of(store, clock, ids)
        async with trio.open_nursery() as nursery:
            ports = Ports(
                store, kernel, clock, ids, kernel.logs, FakeRootfs(kernel), SimulatedImages(Disk(), Life()), PLACES, HostFiles(),
                settings,
            )  # fmt: skip
            engine = Engine(ports, nursery, JOBS)
            await recover(engine)
            yield engine
            await store.settle()
            engine.save_snapshot()
            nursery.cancel_scope.cancel()


def _forget(kernel: FakeKernel) -> None:
    """The model keeps every process for tests to look at; here only those that may still be asked for."""
    kernel.trace.clear()
    table = kernel.model.processes.table
    ended = [pid for pid, process in table.items() if not process.alive]
    for pid in ended[:-_REMEMBERED]:
        del table[pid]


async def _round(path: Path, engine: Engine, kernel: FakeKernel, names: list[str], first: int, last: int) -> Sample:
    slowest = 0.0
    left = last - first

    async def crash_loop(name: str) -> None:
        nonlocal slowest, left
        while left > 0:
            left -= 1
            began = time.monotonic()
            answer = await start(engine, name)
            assert not isinstance(answer, Exception), answer
            await settled(engine, name)
            slowest = max(slowest, time.monotonic() - began)
            _forget(kernel)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(crash_loop, name)
    store = engine.ports.store
    seals = [seal for seal in store.sealed() if seal.kept]
    log_bytes = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    archive_bytes = sum(each.stat().st_size for each in archive.directory(path).glob("*"))
    return Sample(last, store.head(), log_bytes, len(seals), archive_bytes, round(slowest * 1000, 1))

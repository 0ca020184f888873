"""The world of a simulation: a fake kernel and a disk, which outlive engines, and one engine's life after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import trio
from tests.simulation import invariants
from tests.simulation.disk import Disk, SimulatedStore
from tests.simulation.life import Killed, Life
from tests.simulation.ports import (
    MortalImages,
    MortalKernel,
    MortalOutputs,
    MortalRootfs,
    MortalStore,
    PointedFaults,
    SimulatedImages,
    chunks_of,
)
from tests.simulation.registry import SimulatedRegistry

from docket.domain.engine import Engine, Ports
from docket.domain.errors import StoreFailed
from docket.domain.jobs import JOBS
from docket.domain.log import StoredEvent
from docket.domain.model.container.spec import Resources
from docket.domain.model.state import EVENT_TYPES
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.recovery import recover
from docket.domain.sweeping import sweep_later
from docket.event_store.codec import Codec
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeRootfs, SequentialIds
from docket.kernel.fake.streams import FakeEndpoint

PLACES = Places("/var/lib/docket", "/run/docket")

Body = Callable[[Engine], Awaitable[None]]


class World:
    """Make it inside trio. ``seed`` decides the disk's speed and all ids."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.dice = Random(seed)
        self.disk = Disk()
        self.codec = Codec(EVENT_TYPES)
        self.kernel = FakeKernel(clock=FakeClock(), apparmor=("docker-default",))
        self.faults = PointedFaults()
        self.kernel.faults = self.faults
        self.kernel.make_layer("/srv/shared", system=False)
        self.rootfs = FakeRootfs(self.kernel)
        self.lives = 0
        self.registry = SimulatedRegistry()
        self.store: SimulatedStore | None = None
        self.failing: set[str] = set()
        """Calls that fail once."""

    async def live(self, body: Body, crash_at: int | None = None) -> Life:
        """One life: recovery, then ``body``, then the end or the crash. Returns what was passed."""
        life = Life(crash_at)
        self.lives += 1
        self.kernel.forget_engine()
        self.faults.life = life
        self.registry.life = life
        self.store = SimulatedStore(self.disk, self.codec, life, self.dice)
        try:
            with life.scope:
                async with trio.open_nursery() as nursery:
                    engine = Engine(self._ports(life, self.store), nursery, JOBS)
                    with engine.subscribe() as told:
                        await recover(engine)
                        engine.spawn(sweep_later, engine)
                        await body(engine)
                        invariants.check_told(told)
                    self.store.flush()
                    nursery.cancel_scope.cancel()
        except BaseException as error:
            if not life.dead or not _only_killed(error):
                raise
        survived = not life.dead
        life.dead = True
        if survived:
            self.store.close()
        invariants.check_acknowledged(self.disk)
        return life

    def _ports(self, life: Life, store: SimulatedStore) -> Ports:
        return Ports(
            MortalStore(store, life, self._acknowledge),
            MortalKernel(self.kernel, life, self.failing),
            self.kernel.clock,
            SequentialIds(f"{self.seed}/{self.lives}"),
            MortalOutputs(self.kernel.logs, life),  # type: ignore[arg-type]
            MortalRootfs(self.rootfs, life, self.failing),
            MortalImages(SimulatedImages(self.disk, life), life, self.failing),
            PLACES,
            HostFiles(),
            registry=self.registry,
        )

    def _acknowledge(self, events: list[StoredEvent]) -> None:
        for event in events:
            self.disk.acknowledged[event.position] = event.hash

    def reboot(self) -> None:
        """The machine loses power and comes back."""
        self.disk.cut_power()
        self.kernel.reboot()

    def check(self, engine: Engine) -> None:
        """Everything that holds after every step."""
        assert self.store is not None
        invariants.check_step(engine, self.store, self.kernel, self.disk)

    # What scenarios ask (`scenarios.Bench`).

    def endpoint(self) -> FakeEndpoint:
        return FakeEndpoint()

    def archive(self) -> AsyncIterator[bytes]:
        return chunks_of(b"tiny")

    def resources(self) -> Resources:
        return Resources(memory_bytes=1 << 26, pids_limit=50)

    def shared_directory(self) -> str:
        return "/srv/shared"

    def run_out_of_memory(self, pid: int) -> None:
        self.kernel.oom_kill(pid)

    def fail(self, call: str) -> None:
        self.failing.add(call)

    async def settle(self, seconds: float = 0.5) -> None:
        """Let what is under way come to its end."""
        await trio.sleep(seconds)


def _only_killed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only_killed(inner) for inner in error.exceptions)
    return isinstance(error, Killed | trio.Cancelled | StoreFailed)

"""A disk that refuses the log: requests are told, nothing that happened is lost, and nobody has to restart anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from docket.domain.engine import Engine, Ports
from docket.domain.errors import CorruptEvent, StoreFailed
from docket.domain.jobs import JOBS
from docket.domain.jobs.create import Create
from docket.domain.jobs.remove import Remove
from docket.domain.jobs.stop import Stop
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import ContainerStatus
from docket.domain.model.image.commands import AddImage
from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.model.state import EVENT_TYPES, fold
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.snapshots import EVERY_EVENTS
from docket.domain.verification import verify_log
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeRootfs, NoGarbage, SequentialIds

IMAGE = "sha256:" + "1" * 64


class Bench:
    """An engine on the fake kernel, over a log whose disk can be full."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.store = MemoryEventStore(Codec(EVENT_TYPES))
        self.kernel = FakeKernel()
        self.reports: list[tuple[str, str]] = []
        images: Any = NoGarbage()
        ports = Ports(
            self.store, self.kernel, FakeClock(), SequentialIds(0), self.kernel.logs, FakeRootfs(self.kernel), images,
            Places("/var/lib/docket", "/run/docket"), HostFiles(), report=self.report,
        )  # fmt: skip
        self.engine = Engine(ports, nursery, JOBS)

    def report(self, level: str, message: str, /, **fields: object) -> None:
        self.reports.append((level, message))

    async def run(self, name: str, *arguments: str, request: Any = None) -> Any:
        job = self.engine.job(name, arguments, "test", request)
        return await self.engine.run(job)

    async def container(self, *command: str, auto_remove: bool = False) -> str:
        """A created container that runs ``command``."""
        spec = ContainerSpec(image=IMAGE, auto_remove=auto_remove)
        created: str = await self.run("create", request=Create(spec, command=command))
        return created

    def types(self, stream: str) -> list[str]:
        return [type(stored.event).__name__ for stored in self.store.read(stream=stream)]

    def open_jobs(self) -> list[str]:
        return list(fold(self.store.read_for_fold()).jobs)


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        made = Bench(nursery)
        imported = ImageImported(IMAGE, IMAGE, ("sha256:" + "2" * 64,), 1, ImageDefaults())
        await made.engine.execute(AddImage(imported), made.engine.job("import", (), "test"))
        yield made
        nursery.cancel_scope.cancel()


async def test_the_end_of_a_process_waits_for_the_disk(autojump_clock: trio.testing.MockClock) -> None:
    """A watcher does not die of a full disk: the exit gets into the log when there is room, and is released only then."""
    async with bench() as here:
        container = await here.container("sleep", "5")
        await here.run("start", container)
        here.store.full = True
        await trio.sleep(60)
        assert here.engine.state.containers[container].status is ContainerStatus.RUNNING
        here.store.full = False
        await trio.sleep(6)
        assert here.types(f"container-{container}")[-1] == "ContainerExited"
        assert here.engine.state.containers[container].status is ContainerStatus.EXITED
        assert here.reports[0][0] == "error"
        assert here.reports[-1] == ("info", "event log takes events again, nothing was lost")
        assert not here.open_jobs()


async def test_requests_are_refused_and_reading_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    """What was decided on events that the disk refused is undone, so that what is shown is what the log says."""
    async with bench() as here:
        container = await here.container("sleep", "500")
        here.store.full = True
        for _ in range(3):
            with pytest.raises(StoreFailed):
                await here.run("start", container)
            assert here.engine.state.containers[container].status is ContainerStatus.CREATED
        here.store.full = False
        await here.run("start", container)
        assert here.engine.state.containers[container].status is ContainerStatus.RUNNING


async def test_a_process_that_runs_is_known_once_there_is_room(autojump_clock: trio.testing.MockClock) -> None:
    """The disk is full between intent and outcome: the caller is told, the container runs, and its events come in order."""
    async with bench() as here:
        container = await here.container("sleep", "30")
        launch = here.kernel.launch

        async def launch_and_fill(request: Any) -> Any:
            launched = await launch(request)
            here.store.full = True
            return launched

        here.kernel.launch = launch_and_fill  # type: ignore[method-assign]
        with pytest.raises(StoreFailed):
            await here.run("start", container)
        assert here.engine.state.containers[container].status is ContainerStatus.STARTING
        await trio.sleep(60)  # it has ended as well meanwhile
        here.store.full = False
        await trio.sleep(6)
        assert here.types(f"container-{container}") == [
            "ContainerCreated", "ContainerStarting", "ContainerStarted", "ContainerExited",
        ]  # fmt: skip
        assert not here.open_jobs()


async def test_a_request_tries_again_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    """Once there is room the next request does not fail, and is decided with the facts that had to wait."""
    async with bench() as here:
        container = await here.container("sleep", "5")
        await here.run("start", container)
        here.store.full = True
        await trio.sleep(60)
        here.store.full = False
        await here.run("start", container)
        assert here.types(f"container-{container}")[-3:] == ["ContainerExited", "ContainerStarting", "ContainerStarted"]


async def test_a_container_that_removes_itself_does_so_later(autojump_clock: trio.testing.MockClock) -> None:
    """``--rm`` has nobody who would ask again."""
    async with bench() as here:
        container = await here.container("sleep", "5", auto_remove=True)
        await here.run("start", container)
        here.store.full = True
        await trio.sleep(30)
        here.store.full = False
        await trio.sleep(10)
        assert container not in here.engine.state.containers


@pytest.mark.parametrize(("name", "request_"), [("stop", Stop(timeout_seconds=1)), ("remove", Remove(force=True))])
async def test_requests_do_not_wait_for_the_disk(autojump_clock: trio.testing.MockClock, name: str, request_: Any) -> None:
    """Stop and forced removal wait for the end of a process; the client is told when that cannot get into the log."""
    async with bench() as here:
        container = await here.container("sleep", "500")
        await here.run("start", container)
        signal = here.kernel.signal

        async def fill_and_signal(*arguments: Any) -> bool:
            here.store.full = True
            return await signal(*arguments)

        here.kernel.signal = fill_and_signal  # type: ignore[method-assign]
        with pytest.raises(StoreFailed):
            await here.run(name, container, request=request_)
        here.store.full = False
        await trio.sleep(6)
        assert here.engine.state.containers[container].status is ContainerStatus.EXITED


async def test_whoever_waits_for_a_container_is_not_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    """The state is folded anew after a refusal; a job that began before sees what happens afterwards."""
    async with bench() as here:
        container = await here.container("sleep", "5")
        await here.run("start", container)
        codes: list[int] = []

        async def wait() -> None:
            codes.append(await here.run("wait", container, request="not-running"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(1)
            here.store.full = True
            await trio.sleep(60)
            here.store.full = False
        assert codes == [0]


async def test_background_work_that_fails_ends_nothing_else(autojump_clock: trio.testing.MockClock) -> None:
    """A watcher with a bug is told of, and the engine goes on serving all other containers."""
    async with bench() as here:

        async def broken() -> None:
            raise RuntimeError("no")

        here.engine.spawn(broken)
        await trio.sleep(1)
        assert here.reports == [("error", "background work failed")]
        await here.container("true")


async def test_snapshots_are_taken_while_the_engine_runs(autojump_clock: trio.testing.MockClock) -> None:
    """After a few thousand events the fold is kept, and it is the fold; a kill then costs no more than those events again."""
    async with bench() as here:
        container = await here.container("true")
        for number in range(EVERY_EVENTS // 2):
            await here.run("rename", container, f"name{number}")
        await trio.sleep(10)
        saved = here.store.load_snapshot()
        assert saved is not None
        assert EVERY_EVENTS <= saved[0] <= here.store.head()
        again = Engine(here.engine.ports, here.engine.nursery, JOBS)
        assert again.state == fold(here.store.read_for_fold())


async def test_s52_the_whole_log_is_checked_and_damage_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Piece by piece from the first event to the last; what is found is told to the operator and stays to be seen."""
    async with bench() as here:
        await verify_log(here.engine)
        assert (here.engine.health.status, here.engine.health.position) == ("sound", here.store.head())
        assert here.reports == [("info", "event log verified")]

        def damaged(after: int = 0, limit: int | None = None) -> Any:
            raise CorruptEvent(3, "does not match its hash")

        monkeypatch.setattr(here.store, "verify", damaged)
        await verify_log(here.engine)
        assert (here.engine.health.status, here.engine.health.position) == ("damaged", 3)
        assert here.reports[-1] == ("error", "event log is damaged")

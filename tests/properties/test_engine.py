"""Random jobs against the whole engine on the fake kernel: whatever happens, state is a function of the log."""

from __future__ import annotations

from typing import Any

import msgspec
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docket.domain.engine import Engine, Ports
from docket.domain.errors import KernelError, Rejected, StoreFailed
from docket.domain.jobs import JOBS
from docket.domain.jobs.create import Create
from docket.domain.jobs.remove import Remove
from docket.domain.jobs.stop import Stop
from docket.domain.log import Event
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.image.commands import AddImage
from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.model.state import EVENT_TYPES, fold
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.recovery import recover
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeRootfs, NoGarbage, SequentialIds

IMAGE = "sha256:" + "1" * 64
LAYER = "sha256:" + "2" * 64
PLACES = Places("/var/lib/docket", "/run/docket")
COMMANDS = (("true",), ("false",), ("sleep", "1000"), ("sleep", "1"), ("nosuch",))
NAMES = ("web", "db", "")
STEPS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(NAMES), st.sampled_from(COMMANDS), st.booleans()),
    st.tuples(st.sampled_from(["start", "stop", "kill", "pause", "unpause", "restart"]), st.sampled_from(NAMES[:2])),
    st.tuples(st.just("remove"), st.sampled_from(NAMES[:2]), st.booleans()),
    st.tuples(st.just("rename"), st.sampled_from(NAMES[:2]), st.sampled_from(["web", "db", "x", "new-name"])),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 20.0])),
    st.tuples(st.just("disk"), st.booleans()),
)
_PATIENCE_SECONDS = 120
REQUESTS: dict[str, Any] = {"stop": Stop(timeout_seconds=1), "restart": Stop(timeout_seconds=1), "kill": 9}


def ports_of(kernel: FakeKernel, store: MemoryEventStore) -> Ports:
    images: Any = NoGarbage()
    ids = SequentialIds(store.head())
    return Ports(store, kernel, FakeClock(), ids, kernel.logs, FakeRootfs(kernel), images, PLACES, HostFiles())


async def perform(engine: Engine, step: tuple[Any, ...]) -> None:
    """One job, a passage of time, or a disk that is full from now on or no more. A refusal is an answer like any other."""
    name, *arguments = step
    if name == "pass":
        await trio.sleep(arguments[0])
        return
    if name == "disk":
        store = engine.ports.store
        assert isinstance(store, MemoryEventStore)
        store.full = arguments[0]
        return
    job = engine.job(name, tuple(str(argument) for argument in arguments[:2]), "test", REQUESTS.get(name))
    if name == "create":
        job.request = Create(ContainerSpec(image=IMAGE, auto_remove=arguments[2]), arguments[0], command=arguments[1])
    elif name == "remove":
        job.request = Remove(force=arguments[1])
    try:
        with trio.move_on_after(_PATIENCE_SECONDS):  # what must wait for the disk may wait longer than the test
            await engine.run(job)
    except (Rejected, KernelError, StoreFailed):
        return


def canonical(state: msgspec.Struct) -> bytes:
    return msgspec.json.encode(state)


def check(engine: Engine) -> None:
    """Replay equals live state; names are owned once; an ended container has no process."""
    state, store = engine.state, engine.ports.store
    assert canonical(fold(store.read_for_fold())) == canonical(state)
    assert {container.name: key for key, container in state.containers.items()} == state.names
    assert all(bool(container.pid) == container.alive for container in state.containers.values() if not container.unsettled)


async def history(steps: list[tuple[Any, ...]]) -> None:
    kernel, store = FakeKernel(), MemoryEventStore(Codec(EVENT_TYPES))
    async with trio.open_nursery() as nursery:
        engine = Engine(ports_of(kernel, store), nursery, JOBS)
        job = engine.job("import", (), "test")
        imported = ImageImported(IMAGE, IMAGE, (LAYER,), 1, ImageDefaults())
        await engine.execute(AddImage(imported), job)
        for step in steps:
            await perform(engine, step)
            check(engine)
        nursery.cancel_scope.cancel()
    store.full = False
    kernel.forget_engine()
    async with trio.open_nursery() as nursery:
        engine = Engine(ports_of(kernel, store), nursery, JOBS)
        await recover(engine)
        check(engine)
        assert not any(container.unsettled for container in engine.state.containers.values())
        before: list[Event] = [stored.event for stored in store.read()]
        for key in list(engine.state.containers):
            await perform(engine, ("remove", key, True))
        assert not engine.state.containers
        assert len(before) <= store.head()
        nursery.cancel_scope.cancel()


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=12))
def test_state_is_a_function_of_the_log_whatever_is_asked(steps: list[tuple[Any, ...]]) -> None:
    """Live state equals a fold from event 1 after every step, and an engine that comes later settles everything."""
    trio.run(history, steps, clock=trio.testing.MockClock(autojump_threshold=0))

"""`replay`: whole jobs are executed again against what was recorded of them, and any change shows as a divergence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from docket.domain.engine import Engine, Job, Ports
from docket.domain.errors import KernelError, Rejected, Unavailable
from docket.domain.jobs import JOBS
from docket.domain.jobs import start as start_job
from docket.domain.jobs.commit import Commit, Settings
from docket.domain.jobs.create import Create
from docket.domain.jobs.exec_ import CreateRequest
from docket.domain.jobs.remove import Remove
from docket.domain.jobs.stop import Stop
from docket.domain.layer_commit import LayerCommit
from docket.domain.log import Batch, Metadata
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.engine.events import EngineSwept
from docket.domain.model.exec.events import ExecSpec
from docket.domain.model.image.commands import AddImage
from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.model.state import EVENT_TYPES
from docket.domain.plan import operations as op
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import Attachment
from docket.domain.recovery import recover
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore
from docket.kernel.fake.faults import Fault, SimulatedCrash, crash_after, fail
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeRootfs, SequentialIds
from docket.kernel.fake.streams import FakeEndpoint
from docket.kernel.recording.format import RecordingInvalid
from docket.kernel.recording.kernel import RecordingKernel
from docket.kernel.replaying.job import Replay, replay

IMAGE, LAYER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PLACES = Places("/var/lib/docket", "/run/docket")
Scenario = Callable[[Engine], Awaitable[None]]


class Committing:
    """Images of containers, each another one; the third cannot be made."""

    def __init__(self) -> None:
        self._count = 0

    async def commit(self, commit: LayerCommit) -> ImageImported:
        await trio.lowlevel.checkpoint()
        self._count += 1
        if self._count == 3:
            raise Unavailable("the disk is full")
        image = "sha256:" + str(self._count + 2) * 64
        return ImageImported(image, image, (LAYER, image), 2, ImageDefaults())


def engine_on(kernel: FakeKernel, store: MemoryEventStore, nursery: trio.Nursery) -> Engine:
    """An engine whose kernel is recorded."""
    images: Any = Committing()
    files = HostFiles("nameserver 192.0.2.1\n", "127.0.0.1 localhost\n")
    recording = RecordingKernel(kernel, store.save_recording, PLACES, files)
    ids = SequentialIds(str(store.head()))
    return Engine(
        Ports(store, recording, FakeClock(), ids, kernel.logs, FakeRootfs(kernel), images, PLACES, files), nursery, JOBS
    )


async def ask(engine: Engine, name: str, *arguments: str, request: Any = None, attachments: tuple[Attachment, ...] = ()) -> Any:
    """One job; a rejection is an answer."""
    job = Job(name, arguments, "uid=0", engine.ports.ids.new(32), request, attachments=attachments)
    try:
        return await engine.run(job)
    except (Rejected, KernelError, Unavailable):
        return None


async def create(engine: Engine, name: str, *command: str, **spec: Any) -> str:
    made: str = await ask(engine, "create", request=Create(ContainerSpec(image=IMAGE, **spec), name, command=command))
    return made


def record(scenario: Scenario, *faults: Fault) -> MemoryEventStore:
    """The log of a scenario with its recordings; a crash is followed by another engine that recovers."""
    store = MemoryEventStore(Codec(EVENT_TYPES))
    kernel = FakeKernel(faults=faults)

    async def life() -> None:
        try:
            async with trio.open_nursery() as nursery:
                engine = engine_on(kernel, store, nursery)
                await engine.execute(
                    AddImage(ImageImported(IMAGE, IMAGE, (LAYER,), 1, ImageDefaults())), engine.job("import", (), "test")
                )
                await scenario(engine)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        except* SimulatedCrash:
            kernel.forget_engine()
            async with trio.open_nursery() as nursery:
                await recover(engine_on(kernel, store, nursery))
                nursery.cancel_scope.cancel()

    trio.run(life, clock=MockClock(autojump_threshold=0))
    return store


def replay_all(store: MemoryEventStore) -> dict[str, Replay]:
    """Every recorded job again, by its name; nothing may be written."""
    head = store.head()
    found = {}
    for job in store.recorded_jobs():
        replayed = replay(store, job)
        assert replayed is not None
        found[f"{replayed.name}{len(found)}"] = replayed
    assert store.head() == head
    return found


async def lived(engine: Engine) -> None:
    """Start, exec, pause, kill, stop by force after its time, restart, remove by force."""
    await ask(engine, "attach", await create(engine, "web", "sleep", "1000"), attachments=(Attachment(FakeEndpoint()),))
    await ask(engine, "start", "web")
    await ask(engine, "attach", "web", attachments=(Attachment(FakeEndpoint(), stdin=True),))
    request = CreateRequest(ExecSpec(""), ("true", "hunter2"), ("TOKEN=hunter2",))
    instance = await ask(engine, "exec_create", "web", request=request)
    await ask(engine, "exec_start", instance or "none", attachments=(Attachment(FakeEndpoint()),))
    await wait_all_tasks_blocked()
    await ask(engine, "pause", "web")
    await ask(engine, "unpause", "web")
    await ask(engine, "kill", "web", "1", request=18)
    await ask(engine, "restart", "web", request=Stop(timeout_seconds=3))
    await ask(engine, "stop", "web", request=Stop(signal=10, timeout_seconds=3))
    await ask(engine, "start", "web")
    await ask(engine, "remove", "web", request=Remove(force=True))


async def short(engine: Engine) -> None:
    """A container that ends and removes itself, and one whose command is not there."""
    await create(engine, "once", "true", auto_remove=True)
    await ask(engine, "start", "once")
    await create(engine, "broken", "nosuch")
    await ask(engine, "start", "broken")


async def started(engine: Engine) -> None:
    await create(engine, "web", "sleep", "1000")
    await ask(engine, "start", "web")


async def cancelled(engine: Engine) -> None:
    """The client of a stop goes away while it waits."""
    await create(engine, "web", "sleep", "1000")
    await ask(engine, "start", "web")
    with trio.move_on_after(1):
        await ask(engine, "stop", "web", request=Stop(signal=10, timeout_seconds=30))


@pytest.mark.parametrize("scenario", [lived, short, started, cancelled])
def test_every_job_does_the_same_again(scenario: Scenario) -> None:
    """Kernel calls and events are those of the record, whatever others did meanwhile and however the job ended."""
    replays = replay_all(record(scenario))
    assert {name: each.divergence for name, each in replays.items() if each.divergence} == {}
    assert not any(each.cut for name, each in replays.items() if not name.startswith("watch"))


def test_all_kinds_of_jobs_are_recorded() -> None:
    """What asks the kernel is in the recordings, and what does not is not."""
    names = {each.name for each in replay_all(record(lived)).values()}
    assert names == {"start", "watch", "attach", "exec_start", "pause", "unpause", "kill", "restart", "stop", "remove"}


@pytest.mark.parametrize("fault", [fail(1, 16, "PivotRoot"), fail(1, 28, "MakeDirectory"), fail(1, 5, "freeze")])
def test_a_failure_is_replayed_as_it_was(fault: Fault) -> None:
    """The failed operation fails again, and the events tell it in the same words."""
    assert all(not each.divergence for each in replay_all(record(lived, fault)).values())


@pytest.mark.parametrize("crash", [crash_after(1, "signal"), crash_after(2, "launch"), crash_after(1, "release")])
def test_a_job_that_its_engine_did_not_finish_is_replayed_up_to_there(crash: Fault) -> None:
    """The rest is not a divergence; recovery's own questions are replayed too."""
    replays = replay_all(record(lived, crash))
    assert all(not each.divergence for each in replays.values())
    assert any(name.startswith("recover") for name in replays)


def test_a_recovery_that_deleted_garbage_is_replayed_without() -> None:
    """As those of older engines did: a replay deletes nothing, and the recovery of today leaves it to a job of its own."""
    store = record(lived, crash_after(2, "launch"))
    recovery = store.recorded_jobs()[-1]
    swept = Batch((EngineSwept(3, 1, 1000),), Metadata(10**9, recovery, "engine"))
    trio.run(store.append, swept)
    replays = replay_all(store)
    assert any(name.startswith("recover") for name in replays)
    assert all(not each.divergence for each in replays.values())


def test_s54_no_secret_is_in_a_recording() -> None:
    """Environment and exec arguments stay out, also of the replay's inputs."""
    store = record(lived)
    assert not any(b"hunter2" in (store.recording(job) or b"") for job in store.recorded_jobs())


@contextmanager
def changed_plan(monkeypatch: pytest.MonkeyPatch, change: Callable[[op.Plan], op.Plan]) -> Iterator[None]:
    original = start_job.container_plan
    with monkeypatch.context() as patch:
        patch.setattr(start_job, "container_plan", lambda *arguments: change(original(*arguments)))
        yield


class Quota(op.Operation, frozen=True):
    """An operation that no recording knows."""

    blocks: int

    def describe(self) -> str:
        return f"quota of {self.blocks} blocks"


def with_quota(plan: op.Plan) -> op.Plan:
    quota: Any = Quota(7)
    return msgspec.structs.replace(plan, inside=(plan.inside[0], quota, *plan.inside[1:]))


def without_masks(plan: op.Plan) -> op.Plan:
    return msgspec.structs.replace(plan, inside=tuple(each for each in plan.inside if not isinstance(each, op.MaskPath)))


@pytest.mark.parametrize(("change", "line"), [(with_quota, '+["Quota",7]'), (without_masks, '-["MaskPath","/proc/acpi"]')])
def test_a_changed_plan_diverges_readably(
    change: Callable[[op.Plan], op.Plan], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new operation type or a dropped operation is shown as one line of a difference, with the nearest recorded call."""
    store = record(started)
    with changed_plan(monkeypatch, change):
        replayed = replay(store, store.recorded_jobs()[0])
    assert replayed is not None
    assert line in replayed.divergence.splitlines()
    assert replayed.divergence.startswith("replay diverged: launch '")
    assert "(line 2)" in replayed.divergence


def test_a_changed_event_diverges_readably(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the job appends is compared field by field."""
    store = record(started)
    original = start_job.started

    def laxer(*arguments: Any) -> Any:
        return msgspec.structs.replace(original(*arguments), no_new_privileges=True)

    monkeypatch.setattr(start_job, "started", laxer)
    replayed = replay(store, store.recorded_jobs()[0])
    assert replayed is not None
    assert replayed.divergence.startswith("replay diverged: ContainerStarted was appended, recorded is ContainerStarted")
    assert "+  no_new_privileges true" in replayed.divergence.splitlines()


def test_a_missing_recording_is_none() -> None:
    """Jobs without kernel calls have nothing to compare."""
    assert replay(record(started), "0" * 32) is None


class Told:
    """A store whose recordings were exchanged."""

    def __init__(self, store: MemoryEventStore, recording: bytes) -> None:
        self._store = store
        self._recording = recording

    def recording(self, job: str) -> bytes:
        return self._recording

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture(scope="module")
def life() -> MemoryEventStore:
    return record(lived)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_s57_whatever_a_recording_says_the_replay_ends_in_an_answer(data: st.DataObject, life: MemoryEventStore) -> None:
    """A line dropped, doubled, exchanged or altered: refused or a divergence, never another exception and never a hang."""
    job = data.draw(st.sampled_from(life.recorded_jobs()))
    lines = (life.recording(job) or b"").splitlines(keepends=True)
    at, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    how = data.draw(st.sampled_from(["drop", "double", "exchange", "alter", "foreign"]))
    if how == "drop":
        del lines[at]
    elif how == "double":
        lines.insert(at, lines[at])
    elif how == "exchange":
        lines[at], lines[other] = lines[other], lines[at]
    elif how == "alter":
        old, new = data.draw(
            st.sampled_from([(b"1", b"2"), (b'"', b""), (b"null", b"[1]"), (b"launch", b"find"), (b"web", b"../x")])
        )
        lines[at] = lines[at].replace(old, new, 1)
    else:
        lines[at:at] = (life.recording(life.recorded_jobs()[0]) or b"").splitlines(keepends=True)[1:]
    told: Any = Told(life, b"".join(lines))
    try:
        replayed = replay(told, job)
    except RecordingInvalid:
        return
    assert isinstance(replayed, Replay)


def test_s57_a_replay_needs_no_real_adapter() -> None:
    """What replays imports nothing that speaks to a kernel."""
    script = "import sys, docket.kernel.history; print(*[name for name in sys.modules if name.startswith('docket.')])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not [name for name in result.stdout.split() if "linux" in name or "shim" in name or "adapters" in name]


def test_s57_an_events_strange_arguments_are_a_divergence(life: MemoryEventStore) -> None:
    """A recording that names a job without arguments, or none that there is, is told of and not followed."""
    start = next(job for job in life.recorded_jobs() if b'"name":"start"' in (life.recording(job) or b""))
    recording = life.recording(start) or b""
    for name in (b'"name":"nosuch"', b'"name":"serveapi"', b'"name":"import"'):
        told: Any = Told(life, recording.replace(b'"name":"start"', name, 1))
        try:
            replayed = replay(told, start)
        except RecordingInvalid:
            continue
        assert replayed is not None
        assert replayed.divergence


async def committed(engine: Engine) -> None:
    """Frozen, not frozen, and one that cannot be made."""
    await started(engine)
    for request in (Commit("docker.io/library/made:1", "first"), Commit("", "second", pause=False), Commit("", "third")):
        job = Job("commit", ("web",), "uid=0", engine.ports.ids.new(32), request)
        job.private = Settings(changes=("ENV TOKEN=hunter2",))
        with suppress(Unavailable):
            await engine.run(job)


def test_commits_replay_and_their_secrets_are_not_recorded() -> None:
    """The image is the one that the log names; what the image was told to say is not in the recording."""
    store = record(committed)
    told = replay_all(store)
    assert [each.divergence for each in told.values() if each.divergence] == []
    assert [name.rstrip("0123456789") for name in told].count("commit") >= 2
    assert b"hunter2" not in b"".join(store.recording(job) or b"" for job in store.recorded_jobs())

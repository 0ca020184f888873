"""`RecordingKernel` and `ReplayingKernel`: what is kept, what is not, and that a replay answers as the kernel did."""

import json
from collections.abc import Callable

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from docket.domain.errors import Unavailable
from docket.domain.plan import operations as op
from docket.domain.plan.settings import Places
from docket.domain.ports import Attachment, Kernel, Launch, LaunchFailed, ProcessIdentity
from docket.domain.running import RUNNING, Running
from docket.kernel.fake.faults import SimulatedCrash, crash_before, fail
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.streams import FakeEndpoint
from docket.kernel.recording.format import RecordingInvalid, decode
from docket.kernel.recording.kernel import RecordingKernel
from docket.kernel.replaying.divergence import ReplayDiverged
from docket.kernel.replaying.kernel import ReplayingKernel

PLACES = Places("/var/lib/docket", "/run/docket")

MakeLaunch = Callable[..., Launch]


class Tape:
    """A recording kernel and what came of it."""

    def __init__(self, inner: FakeKernel) -> None:
        self.jobs: dict[str, bytes] = {}
        self.begin("job-1")
        self.kernel = RecordingKernel(inner, self.keep, PLACES)

    def begin(self, job: str) -> None:
        """From now on the test's task is this job; "" is none."""
        self.job = job
        RUNNING.set(Running(job, "test", (), None, lambda: 7) if job else None)

    def keep(self, job: str, lines: bytes) -> None:
        self.jobs[job] = self.jobs.get(job, b"") + lines

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.jobs[self.job].splitlines()]


async def a_job(kernel: Kernel, launch: Launch) -> list[object]:
    """A container's life, with everything that the port answers."""
    launched = await kernel.launch(launch)
    answers: list[object] = [[(result.operation, result.errno) for result in launched.results]]
    answers.append(await kernel.signal(launch.key, launched.identity, 15))
    await kernel.freeze(launch.cgroup)
    await kernel.thaw(launch.cgroup)
    await kernel.attach(launch.key, Attachment(FakeEndpoint(), early=b"secret"))
    await kernel.resize(launch.key, 20, 80)
    with trio.move_on_after(10):
        await kernel.exited(launch.key)
    rows = await kernel.processes(launch.cgroup)
    answers.append([(row.uid, row.terminal) for row in rows])
    answers.append((await kernel.statistics(launch.cgroup, launched.identity.pid)).pids)
    answers.append((await kernel.find(launch.key, launch.directory, launch.exit_file)).identity == launched.identity)
    answers.append(await kernel.signal(launch.key, launched.identity, 9))
    answers.append(await kernel.exited(launch.key))
    await kernel.release(launch.key, launch.directory, launch.exit_file, launch.plan.release())
    answers.append(await kernel.signal(launch.key, launched.identity, 9))
    return answers


async def test_a_replay_answers_as_the_kernel_did(make_launch: MakeLaunch, autojump_clock: MockClock) -> None:
    """The same job on the recording gets the same answers, and uses all of it."""
    fake = FakeKernel()
    tape = Tape(fake)
    launch = make_launch(fake)
    answers = await a_job(tape.kernel, launch)
    replaying = ReplayingKernel(tape.jobs["job-1"], boot_id=fake.boot_id)
    assert replaying.host() == fake.host()
    assert await a_job(replaying, launch) == answers
    replaying.check_finished()


async def test_two_runs_make_equal_recordings(make_launch: MakeLaunch, autojump_clock: MockClock) -> None:
    """Process ids, start times and boot ids are symbols; what is left to differ is durations."""
    recordings = []
    for reboots in (0, 3):
        fake = FakeKernel()
        for _ in range(reboots):
            fake.reboot()
            fake.model.processes.take_pid()
        tape = Tape(fake)
        await a_job(tape.kernel, make_launch(fake))
        recordings.append([{**line, "duration_ns": 0, "boot_id": ""} for line in tape.lines() if "statistics" not in str(line)])
    first, second = ([line for line in lines if "time_ns" not in str(line)] for lines in recordings)
    assert first == second


async def test_s54_no_secret_is_recorded(make_launch: MakeLaunch, autojump_clock: MockClock) -> None:
    """Environment, arguments beside the plan, and clients' bytes are not in it, also when the launch fails."""
    fake = FakeKernel()
    tape = Tape(fake)
    made = make_launch(fake)
    plan = msgspec.structs.replace(made.plan, inside=(*made.plan.inside[:-1], op.Execve()))
    secret = msgspec.structs.replace(
        made,
        plan=plan,
        environment=("PATH=/bin", "TOKEN=hunter2"),
        arguments=("/bin/hunter2", "hunter2"),
        attachments=(Attachment(FakeEndpoint(), early=b"hunter2"),),
    )
    with pytest.raises(LaunchFailed) as caught:
        await tape.kernel.launch(secret)
    assert caught.value.path == "/bin/hunter2"
    await a_job(tape.kernel, msgspec.structs.replace(secret, arguments=("sh", "-c", "echo hunter2; sleep 1000")))
    assert b"hunter2" not in tape.jobs["job-1"]
    assert b"execute the command" in tape.jobs["job-1"]


async def test_a_failed_launch_is_replayed_with_its_results(make_launch: MakeLaunch) -> None:
    """The failed operation, its errno and those that were not begun."""
    fake = FakeKernel(faults=[fail(1, 16, "PivotRoot")])
    tape = Tape(fake)
    launch = make_launch(fake)
    with pytest.raises(LaunchFailed) as real:
        await tape.kernel.launch(launch)
    with pytest.raises(LaunchFailed) as replayed:
        await ReplayingKernel(tape.jobs["job-1"]).launch(launch)
    assert str(replayed.value) == str(real.value)
    before = [msgspec.structs.replace(result, duration_ns=0) for result in real.value.results]
    assert [msgspec.structs.replace(result, duration_ns=0) for result in replayed.value.results] == before
    operations = [line for line in tape.lines() if "operation" in line]
    assert len(operations) == len(launch.plan.operations())
    assert operations[-1]["begun"] is False


async def test_a_crash_leaves_whole_calls_only(make_launch: MakeLaunch) -> None:
    """What the engine did not live to see is not in the recording, and the rest of it is good."""
    fake = FakeKernel(faults=[crash_before(1, "signal")])
    tape = Tape(fake)
    launch = make_launch(fake)
    launched = await tape.kernel.launch(launch)
    with pytest.raises(SimulatedCrash):
        await tape.kernel.signal(launch.key, launched.identity, 9)
    _, calls = decode(tape.jobs["job-1"])
    assert [call.name for call in calls] == ["launch"]


async def test_calls_go_to_their_jobs(make_launch: MakeLaunch) -> None:
    """Each job has its own recording, with its own symbols; no job, no recording."""
    fake = FakeKernel()
    tape = Tape(fake)
    launch = make_launch(fake)
    tape.begin("")
    launched = await tape.kernel.launch(launch)
    assert tape.jobs == {}
    for job in ("job-a", "job-b"):
        tape.begin(job)
        await tape.kernel.signal(launch.key, launched.identity, 0)
    assert tape.jobs["job-a"].splitlines()[1:-1] == tape.jobs["job-b"].splitlines()[1:-1]
    replaying = ReplayingKernel(tape.jobs["job-a"], boot_id=fake.boot_id)
    assert await replaying.signal(launch.key, launched.identity, 0) is True


async def test_a_divergence_shows_both_sides(make_launch: MakeLaunch) -> None:
    """The call, the nearest recorded one and the difference, one line for each operation."""
    fake = FakeKernel()
    tape = Tape(fake)
    launch = make_launch(fake)
    await tape.kernel.launch(launch)
    inside = tuple(op.Sethostname("other") if isinstance(step, op.Sethostname) else step for step in launch.plan.inside)
    changed = msgspec.structs.replace(launch, plan=msgspec.structs.replace(launch.plan, inside=inside))
    with pytest.raises(ReplayDiverged) as caught:
        await ReplayingKernel(tape.jobs["job-1"]).launch(changed)
    text = str(caught.value)
    assert '-["Sethostname","box"]' in text
    assert '+["Sethostname","other"]' in text
    assert "(line 2)" in text


async def test_a_call_out_of_order_diverges(make_launch: MakeLaunch) -> None:
    """Strictly in order: a later call is not answered early, and the nearest one is named."""
    fake = FakeKernel()
    tape = Tape(fake)
    launch = make_launch(fake)
    launched = await tape.kernel.launch(launch)
    await tape.kernel.freeze(launch.cgroup)
    await tape.kernel.signal(launch.key, launched.identity, 9)
    replaying = ReplayingKernel(tape.jobs["job-1"])
    await replaying.launch(launch)
    with pytest.raises(ReplayDiverged) as caught:
        await replaying.signal(launch.key, launched.identity, 9)
    assert "recorded is freeze" in str(caught.value)
    assert "nearest recorded call: signal" in str(caught.value)
    with pytest.raises(ReplayDiverged):
        await replaying.exited(launch.key)
    with pytest.raises(ReplayDiverged, match="2 recorded calls are left"):
        replaying.check_finished()


async def test_another_process_is_another_call(make_launch: MakeLaunch) -> None:
    """A signal to a different process than the recorded one diverges, though its pid is only a symbol."""
    fake = FakeKernel()
    tape = Tape(fake)
    launch = make_launch(fake)
    launched = await tape.kernel.launch(launch)
    await tape.kernel.signal(launch.key, launched.identity, 9)
    replaying = ReplayingKernel(tape.jobs["job-1"], boot_id=fake.boot_id)
    await replaying.launch(launch)
    with pytest.raises(ReplayDiverged):
        await replaying.signal(launch.key, ProcessIdentity(1, 1, fake.boot_id), 9)


async def test_a_wait_is_answered_in_its_place(make_launch: MakeLaunch, nursery: trio.Nursery) -> None:
    """The end comes where it came then: after the signal, not before."""
    fake = FakeKernel()
    tape = Tape(fake)
    launch = make_launch(fake)
    order: list[str] = []

    async def job(kernel: Kernel) -> None:
        launched = await kernel.launch(launch)

        async def wait() -> None:
            end = await kernel.exited(launch.key)
            order.append(f"ended {end.code}")

        async with trio.open_nursery() as inner:
            inner.start_soon(wait)
            await wait_all_tasks_blocked()
            order.append("signalled")
            await kernel.signal(launch.key, launched.identity, 9)
        await kernel.release(launch.key, launch.directory, launch.exit_file, ())

    await job(tape.kernel)
    await job(ReplayingKernel(tape.jobs["job-1"]))
    assert order == ["signalled", "ended 137"] * 2


async def test_other_failures_are_replayed() -> None:
    """`Unavailable` comes back as itself."""
    tape = Tape(FakeKernel())
    with pytest.raises(Unavailable):
        await tape.kernel.resize("unknown", 1, 2)
    with pytest.raises(Unavailable, match="no shim of unknown"):
        await ReplayingKernel(tape.jobs["job-1"]).resize("unknown", 1, 2)


HEADER = msgspec.json.encode({"recording": 1, "host": FakeKernel().host()}).replace(
    b"00000000-0000-4000-8000-000000000001", b"$boot1"
)
CALL = b'{"call":"launch","key":"k","arguments":{}}'
END = b'{"end":"return","result":null}'


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\n",
        b"no json\n",
        b"[]\n",
        b'{"recording":2}\n',
        HEADER,
        HEADER + b"\n" + CALL + b"\n",
        HEADER + b"\n" + CALL + b"\n" + END[:-1],
        HEADER + b"\n" + CALL + b"\n" + CALL + b"\n" + END + b"\n",
        HEADER + b"\n" + END + b"\n",
        HEADER + b'\n{"call":"../../etc","key":"k","arguments":{}}\n' + END + b"\n",
        HEADER + b'\n{"call":"launch","key":"k","arguments":{},"more":1}\n' + END + b"\n",
        HEADER + b"\n" + CALL + b'\n{"operation":["Nonsense","/x"]}\n' + END + b"\n",
        HEADER + b"\n" + CALL + b'\n{"operation":["Execve",[["x"]]]}\n' + END + b"\n",
        HEADER + b"\n" + CALL + b'\n{"operation":' + b"[" * 5000 + b"]" * 5000 + b"}\n" + END + b"\n",
        HEADER + b"\n" + CALL + b'\n{"operation":["Umask",1],"errno":"x"}\n' + END + b"\n",
        HEADER + b"\n" + CALL + b'\n{"end":"error"}\n',
        HEADER + b'\n{"call":"launch","key":"\xff","arguments":{}}\n' + END + b"\n",
        HEADER + b"\n" + b"x" * ((1 << 20) + 1) + b"\n",
        HEADER + b"\n" * 60_000,
        b"\n" * ((8 << 20) + 1),
    ],
)
def test_s57_a_hostile_recording_is_one_clear_error(hostile: bytes) -> None:
    """Cut off, malformed, oversized or of another version: refused as a whole, before anything is answered."""
    with pytest.raises(RecordingInvalid, match="recording"):
        ReplayingKernel(hostile)


@pytest.mark.parametrize(
    "result",
    [
        b"null",
        b'{"pid":"4","start_time":"$start1","boot_id":"$boot1"}',
        b'{"pid":"$pid1","start_time":"$start2","boot_id":"$boot1"}',
        b'{"pid":"$pid\xd9\xa3","start_time":"$start1","boot_id":"$boot1"}',
        b'{"pid":"$pid99999999","start_time":"$start99999999","boot_id":"$boot1"}',
        b"[1]",
    ],
)
async def test_s57_hostile_results_are_refused_when_they_are_asked_for(result: bytes, make_launch: MakeLaunch) -> None:
    """A result that is no process is not made into one."""
    fake = FakeKernel()
    tape = Tape(fake)
    launch = make_launch(fake)
    await tape.kernel.launch(launch)
    lines = tape.jobs["job-1"].splitlines(keepends=True)
    lines[-1] = b'{"end":"return","result":' + result + b"}\n"
    with pytest.raises(RecordingInvalid, match="recording line 2"):
        await ReplayingKernel(b"".join(lines)).launch(launch)

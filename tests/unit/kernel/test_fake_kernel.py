"""`FakeKernel` beyond the contract: docket's own plans, faults at every step, crashes, reboots."""

from collections.abc import Callable
from itertools import count

import msgspec
import pytest
import trio
from trio.testing import MockClock

from docket.domain.errors import KernelError, Unavailable
from docket.domain.ports import Attachment, Launch, LaunchFailed
from docket.kernel.fake.faults import SimulatedCrash, crash_after, crash_before, fail
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.linux_errno import EINVAL, ENOSYS, EPERM
from docket.kernel.fake.streams import FakeEndpoint

MakeLaunch = Callable[..., Launch]
LASTING = ("", "/upper", "/work")


def lasting(launch: Launch) -> set[str]:
    """What a container keeps between its runs."""
    directory = launch.exit_file.rpartition("/")[0]
    return {f"directory {directory}{name}" for name in LASTING}


async def release(kernel: FakeKernel, launch: Launch) -> None:
    await kernel.release(launch.key, launch.directory, launch.exit_file, launch.plan.release())


async def test_a_whole_container_runs(make_launch: MakeLaunch) -> None:
    """Docket's own plan: confined, masked, and gone afterwards."""
    kernel, endpoint = FakeKernel(), FakeEndpoint()
    script = "id -u; hostname; cat /etc/hostname; cat /proc/kcore; touch /proc/sys/x; cat /proc/self/status; exit 3"
    launch = make_launch(kernel, "sh", "-c", script, attachments=(Attachment(endpoint, multiplexed=False),))
    await kernel.launch(launch)
    assert (await kernel.exited(launch.key)).code == 3
    await release(kernel, launch)
    output = (await endpoint.receive_all()).decode()
    assert output.startswith("0\nbox\nbox\ntouch: /proc/sys/x: Read-only file system\n")
    assert "NoNewPrivs:\t1\nSeccomp:\t2\n" in output
    assert "CapEff:\t00000000a80425fb\n" in output
    assert set(kernel.leaks()) == lasting(launch)
    assert launch.log is not None
    assert kernel.logs.content(launch.log.path).decode() == output


async def test_s13_every_operation_that_fails_stops_the_start(make_launch: MakeLaunch) -> None:
    """Whichever call of the start is refused: the program never runs, the failure names the call, nothing is left."""
    for errno in (EPERM, EINVAL, ENOSYS):
        for number in count(1):
            kernel = FakeKernel(faults=[fail(number, errno)])
            launch = make_launch(kernel)
            operations = launch.plan.operations()
            if number > len(operations):
                break
            with pytest.raises(LaunchFailed) as caught:
                await kernel.launch(launch)
            assert (caught.value.operation, caught.value.errno) == (operations[number - 1].describe(), errno)
            assert caught.value.syscall
            assert len([result for result in caught.value.results if not result.errno]) == number - 1
            assert set(kernel.leaks()) <= lasting(launch)


@pytest.mark.parametrize("crash", [crash_before, crash_after])
async def test_s51_after_a_crash_at_any_operation_everything_is_reclaimed(
    make_launch: MakeLaunch, crash: Callable[..., object]
) -> None:
    """With engine and shim killed anywhere in a start, the plan's own undos are enough to reclaim what is left."""
    for number in count(1):
        kernel = FakeKernel(faults=[crash(number)])  # type: ignore[list-item]
        launch = make_launch(kernel)
        if number > len(launch.plan.operations()):
            break
        with pytest.raises(SimulatedCrash):
            await kernel.launch(launch)
        found = await kernel.find(launch.key, launch.directory, launch.exit_file)
        assert (found.identity, found.exit) == (None, None)
        assert not any(line.startswith("process") for line in kernel.leaks())
        await release(kernel, launch)
        assert set(kernel.leaks()) <= lasting(launch)


async def test_a_shim_that_survives_the_engine_is_found(make_launch: MakeLaunch) -> None:
    """The engine is killed in the middle of a start, the shim carries on: the process is there for the next engine."""
    for number in count(1):
        kernel = FakeKernel(faults=[crash_before(number, shim_survives=True)])
        launch = make_launch(kernel)
        if number > len(launch.plan.operations()):
            break
        with pytest.raises(SimulatedCrash):
            await kernel.launch(launch)
        with pytest.raises(Unavailable):
            await kernel.exited(launch.key)
        found = await kernel.find(launch.key, launch.directory, launch.exit_file)
        assert found.identity is not None
        assert await kernel.signal(launch.key, found.identity, 9) is True
        assert (await kernel.exited(launch.key)).code == 137
        await release(kernel, launch)
        assert set(kernel.leaks()) == lasting(launch)


async def test_an_end_between_two_engines_is_found(make_launch: MakeLaunch) -> None:
    """The exit status waits for whoever comes next."""
    kernel = FakeKernel()
    launch = make_launch(kernel, "sh", "-c", "exit 12")
    await kernel.launch(launch)
    kernel.forget_engine()
    await trio.testing.wait_all_tasks_blocked()
    found = await kernel.find(launch.key, launch.directory, launch.exit_file)
    assert found.identity is None
    assert found.exit is not None
    assert found.exit.code == 12
    assert (await kernel.exited(launch.key)).code == 12


async def test_s15_after_a_reboot_no_process_is_the_old_one(make_launch: MakeLaunch) -> None:
    """Another boot id, no process, no cgroup; a signal to the old identity goes nowhere."""
    kernel = FakeKernel()
    launch = make_launch(kernel)
    launched = await kernel.launch(launch)
    kernel.reboot()
    assert kernel.host().boot_id != launched.identity.boot_id
    found = await kernel.find(launch.key, launch.directory, launch.exit_file)
    assert (found.identity, found.exit) == (None, None)
    assert await kernel.signal(launch.key, launched.identity, 9) is False
    again = await kernel.launch(launch)
    reused = msgspec.structs.replace(again.identity, boot_id=launched.identity.boot_id)
    assert await kernel.signal(launch.key, reused, 9) is False


async def test_calls_fail_and_crash_too(make_launch: MakeLaunch) -> None:
    """A fault can name a call of the port."""
    kernel = FakeKernel(faults=[fail(1, EPERM, "signal"), crash_after(1, "freeze")])
    launch = make_launch(kernel)
    launched = await kernel.launch(launch)
    with pytest.raises(KernelError):
        await kernel.signal(launch.key, launched.identity, 9)
    assert await kernel.signal(launch.key, launched.identity, 0) is True
    with pytest.raises(SimulatedCrash):
        await kernel.freeze(launch.cgroup)
    found = await kernel.find(launch.key, launch.directory, launch.exit_file)
    assert found.identity == launched.identity
    assert kernel.model.cgroups.find(launch.cgroup).frozen is True


async def test_the_trace_has_every_step_in_order(make_launch: MakeLaunch) -> None:
    """What was done and what became of it, undos included."""
    kernel = FakeKernel(faults=[fail(1, EPERM, "PivotRoot")])
    launch = make_launch(kernel)
    with pytest.raises(LaunchFailed):
        await kernel.launch(launch)
    kinds = [step.kind for step in kernel.trace]
    assert kinds[:3] == ["launch", "MakeDirectory", "MakeDirectory"]
    assert kinds[kinds.index("PivotRoot") :] == ["PivotRoot", "RemoveCgroup", "Unlink", "Unlink", "Unlink", "RemoveDirectory"]
    assert next(str(step) for step in kernel.trace if step.outcome != "ok").endswith("[EPERM]")


async def test_a_frozen_process_does_not_end_until_it_is_thawed(make_launch: MakeLaunch, autojump_clock: MockClock) -> None:
    """Time passes, the program stands still; a signal waits."""
    kernel = FakeKernel()
    launch = make_launch(kernel, "sh", "-c", "trap 'exit 5' TERM; sleep 10")
    launched = await kernel.launch(launch)
    await trio.testing.wait_all_tasks_blocked()
    await kernel.freeze(launch.cgroup)
    await kernel.signal(launch.key, launched.identity, 15)
    with trio.move_on_after(60) as waiting:
        await kernel.exited(launch.key)
    assert waiting.cancelled_caught
    await kernel.thaw(launch.cgroup)
    assert (await kernel.exited(launch.key)).code == 5


async def test_an_out_of_memory_kill_is_told(make_launch: MakeLaunch) -> None:
    """Status 137 and the reason."""
    kernel = FakeKernel()
    launch = make_launch(kernel)
    launched = await kernel.launch(launch)
    kernel.oom_kill(launched.identity.pid)
    end = await kernel.exited(launch.key)
    assert (end.code, end.oom_killed) == (137, True)


async def test_the_end_of_a_sleep_has_the_modelled_time(make_launch: MakeLaunch, autojump_clock: MockClock) -> None:
    """A thousand seconds pass at once."""
    kernel = FakeKernel()
    launch = make_launch(kernel)
    before = kernel.clock.now_ns()
    await kernel.launch(launch)
    end = await kernel.exited(launch.key)
    assert (end.code, (end.time_ns - before) // 1_000_000_000) == (0, 1000)

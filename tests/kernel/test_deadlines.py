"""Calls that hang and shims that fail: each ends at its deadline, says why, and leaves nothing."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import trio

from docket.domain.errors import Unavailable
from docket.domain.plan import operations as op
from docket.domain.plan.operations import Plan
from docket.domain.ports import Found, Launch, LaunchFailed, LogSettings
from docket.kernel.linux import kernel as linux_kernel
from docket.kernel.linux import launching, shim_directory
from docket.kernel.linux.kernel import LinuxKernel

pytestmark = pytest.mark.root

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from docket.kernel.shim.keeper import Keeper; Keeper.BIRTH_SECONDS = 1.0; "
    "from docket.kernel.launcher.main import main; main(int(sys.argv[2]))"
)


def _launch(root: Path, *prepare: op.AnyOperation) -> Launch:
    plan = Plan(prepare, op.Clone(), (), (op.Setsid(), op.SetParentDeathSignal(), op.Chdir("/"), op.Execve(("sleep", "1000"))))
    (root / "shims").mkdir(exist_ok=True)
    return Launch("box", plan, f"{root}/shims/box", f"{root}/box.exit", ("PATH=/bin:/usr/bin",))


async def test_a_plan_that_hangs_ends_with_its_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that never returns (here: nobody reads the fifo) does not keep a start waiting for ever."""
    monkeypatch.setattr(launching, "_PROGRAM", _PROGRAM)
    os.mkfifo(tmp_path / "fifo")
    launch = _launch(tmp_path, op.WriteFile(f"{tmp_path}/fifo", "x"))
    async with LinuxKernel.open() as kernel:
        with pytest.raises(Unavailable):
            await kernel.launch(launch)
        assert os.listdir(tmp_path / "shims") == []


async def test_a_shim_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery waits for a shim as long as is sensible; then shim and process are ended, so that the log stays true."""
    monkeypatch.setattr(linux_kernel, "_FIND_SECONDS", 0.2)
    launch = _launch(tmp_path)
    async with LinuxKernel.open() as first:
        launched = await first.launch(launch)
    pid = launched.identity.pid
    shim = _parent(pid)
    pidfd = os.pidfd_open(pid)
    os.kill(shim, signal.SIGSTOP)
    async with LinuxKernel.open() as second:
        assert await second.find("box", launch.directory, launch.exit_file) == Found()
        with trio.fail_after(5):
            await trio.lowlevel.wait_readable(pidfd)  # the process has ended with its shim
        await second.release("box", launch.directory, launch.exit_file, ())
    os.close(pidfd)


async def test_a_shim_that_fails_says_why(tmp_path: Path) -> None:
    """Its standard error is nobody's: what went wrong comes to the engine, and the process ends with the shim."""
    launch = msgspec.structs.replace(_launch(tmp_path), log=LogSettings(f"{tmp_path}/missing/log"))
    async with LinuxKernel.open() as kernel:
        with pytest.raises(Unavailable, match=r"FileNotFoundError: .*missing/log"):
            await kernel.launch(launch)
        assert os.listdir(tmp_path / "shims") == []


async def test_a_shim_that_cannot_begin_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before it serves anything, here because its directory is another one by now."""
    made = shim_directory.make
    monkeypatch.setattr(shim_directory, "make", lambda path: made(path) + 1)
    async with LinuxKernel.open() as kernel:
        with pytest.raises(Unavailable, match=r"FileNotFoundError: .*shims/box"):
            await kernel.launch(_launch(tmp_path))


async def test_an_exec_that_hangs_is_given_up_and_its_container_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim that keeps both serves the container meanwhile, buries what it killed, and takes the next exec."""
    monkeypatch.setattr(launching, "_PROGRAM", _PROGRAM)
    os.mkfifo(tmp_path / "fifo")
    async with LinuxKernel.open() as kernel:
        box = _launch(tmp_path)
        launched = await kernel.launch(box)
        shim = _parent(launched.identity.pid)
        hanging = _beside(tmp_path, "hanging", op.WriteFile(f"{tmp_path}/fifo", "x"))
        with pytest.raises(Unavailable, match=r"longer than 1 s"):
            await kernel.launch(hanging)
        beside = _beside(tmp_path, "next")
        with trio.fail_after(20):
            while True:
                await kernel.launch(beside)
                assert (await kernel.exited("next")).code == 0
                await kernel.release("next", beside.directory, beside.exit_file, ())
                if _children(shim) == [str(launched.identity.pid)]:
                    break  # what was given up is buried, not only dead: at the next end after its own
        await kernel.signal("box", launched.identity, signal.SIGKILL)
        assert (await kernel.exited("box")).code == 137
        await kernel.release("box", box.directory, box.exit_file, ())
        assert os.listdir(tmp_path / "shims") == []


async def test_many_execs_leave_their_shim_as_it_was(tmp_path: Path) -> None:
    """A health check runs for months: no descriptor and no memory may stay behind an exec that has ended."""
    async with LinuxKernel.open() as kernel:
        box = _launch(tmp_path)
        launched = await kernel.launch(box)
        shim = _parent(launched.identity.pid)

        async def execute(times: int) -> None:
            for number in range(times):
                beside = _beside(tmp_path, "exec", program="true" if number % 2 else "no-such-program")
                with suppress(LaunchFailed):
                    await kernel.launch(beside)
                    await kernel.exited("exec")
                    await kernel.release("exec", beside.directory, beside.exit_file, ())

        descriptors = len(os.listdir(f"/proc/{shim}/fd"))
        await execute(50)
        memory = _private_kib(shim)
        await execute(400)
        with trio.fail_after(20):
            while len(os.listdir(f"/proc/{shim}/fd")) > descriptors:
                await trio.sleep(0.005)  # it closes behind the release, which it does not answer
        assert _private_kib(shim) - memory < 100
        await kernel.signal("box", launched.identity, signal.SIGKILL)
        await kernel.exited("box")
        await kernel.release("box", box.directory, box.exit_file, ())


def _beside(root: Path, key: str, *inside: op.AnyOperation, program: str = "true") -> Launch:
    plan = Plan((), op.Clone(), (), (op.Setsid(), op.SetParentDeathSignal(), *inside, op.Execve((program,))))
    environment = ("PATH=/bin:/usr/bin",)
    return Launch(key, plan, f"{root}/shims/{key}", f"{root}/{key}.exit", environment, beside="box")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _private_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))

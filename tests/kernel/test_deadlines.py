"""Calls that hang and shims that fail: each ends at its deadline, says why, and leaves nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import pytest
import trio

from docket.domain.errors import Unavailable
from docket.domain.plan import operations as op
from docket.domain.plan.operations import Plan
from docket.domain.ports import Found, Launch, LogSettings
from docket.kernel.linux import kernel as linux_kernel
from docket.kernel.linux import launching, shim_directory
from docket.kernel.linux.kernel import LinuxKernel

pytestmark = pytest.mark.root

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from docket.kernel.shim import main as shim; shim._BIRTH_SECONDS = 0.3; "
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
    shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
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

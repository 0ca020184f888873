"""The launcher's rehearsal: it must go through, for nobody would notice if it did not, and leave nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from docket.domain.plan import operations as op
from docket.domain.ports import Launch
from docket.kernel.launcher import rehearsal
from docket.kernel.linux import kernel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a launcher is a Linux process")

REHEARSE = """
import os, sys
from docket.kernel.launcher.rehearsal import rehearse
before = os.listdir("/proc/self/fd")
rehearse(sys.argv[1])
rehearse(sys.argv[1])
assert os.listdir("/proc/self/fd") == before, os.listdir("/proc/self/fd")
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("rehearsed")
"""


def test_a_rehearsed_request_has_the_members_of_a_real_one() -> None:
    """And its operations have the fields of their types."""
    plan = op.Plan((), op.Clone(), (), (op.Execve(),))
    real = msgspec.json.decode(kernel._request(Launch("key", plan, "/d", "/e"), 1))
    rehearsed = rehearsal._request("/d")
    assert set(rehearsed) == set(real)
    for operation in (*rehearsed["plan"]["prepare"], *rehearsed["plan"]["inside"], *rehearsal._HARMLESS):
        kind = getattr(op, operation[0])
        assert len(operation) == 1 + len(kind.__struct_fields__), operation


def test_a_rehearsal_goes_through_and_leaves_no_process_descriptor_or_file(tmp_path: Path) -> None:
    """Every kind of message a shim is sent must be in the rehearsal, or shims pay for what it misses."""
    ended = subprocess.run(
        [sys.executable, "-I", "-c", REHEARSE, str(tmp_path / "rehearsal")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("rehearsed\n", "")
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_rehearsal_left_is_no_obstacle(tmp_path: Path) -> None:
    """A daemon killed in its first moments must not spoil the next one's rehearsal."""
    left = tmp_path / "rehearsal"
    (left / "made").mkdir(parents=True)
    (left / "exit").write_text("{}")
    ended = subprocess.run(
        [sys.executable, "-I", "-c", REHEARSE, str(left)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout, ended.stderr) == ("rehearsed\n", "")


@pytest.mark.root
def test_a_launcher_that_died_is_replaced_at_the_next_launch() -> None:
    """Nothing but memory is lost with a launcher: the daemon must not be restarted for it."""
    import socket

    from docket.kernel.linux.launching import Launcher

    launcher = Launcher()
    first = launcher.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    launcher.launch(theirs, b"no plan")
    theirs.close()
    ours.settimeout(30)
    assert ours.recv(100) == b""  # a shim was forked, and could make nothing of the request
    assert launcher.pid != first
    launcher.close()
    ours.close()

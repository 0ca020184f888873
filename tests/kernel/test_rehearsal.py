"""The launcher rehearses what the daemon asks for: with another shape it would end, and every start with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from docket.domain.errors import Unavailable
from docket.domain.plan import operations as op
from docket.domain.ports import Launch
from docket.kernel.launcher import rehearsal
from docket.kernel.linux import kernel
from docket.kernel.linux.launching import Launcher


def test_a_rehearsed_request_has_the_members_of_a_real_one() -> None:
    """And its operations have the fields of their types."""
    plan = op.Plan((), op.Clone(), (), (op.Execve(),))
    real = msgspec.json.decode(kernel._request(Launch("key", plan, "/d", "/e")))
    rehearsed = rehearsal._request("/d")
    assert set(rehearsed) == set(real)
    for operation in (*rehearsed["plan"]["prepare"], *rehearsed["plan"]["inside"], *rehearsal._HARMLESS):
        kind = getattr(op, operation[0])
        assert len(operation) == 1 + len(kind.__struct_fields__), operation


@pytest.mark.root
def test_a_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    """It performs its plan, and removes its directory."""
    program = "import sys; from docket.kernel.launcher.rehearsal import rehearse; rehearse(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "r")], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
def test_a_launcher_that_ended_is_an_error_of_the_port() -> None:
    """A start fails at once with a sentence, and does not stay under way."""
    launcher = Launcher()
    os.kill(launcher.pid, signal.SIGKILL)
    os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Unavailable, match="the launcher is gone"):
        launcher.launch(theirs, b"{}")
    launcher.close()

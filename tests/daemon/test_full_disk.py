"""A disk that is really full under a real daemon: told, survived, and made good without a restart."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

Start = Any


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk for the data root, and nothing but it."""
    path = tmp_path / "data"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Takes all of it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def exhaust(daemon: Any) -> str:
    """Uses up the room that SQLite's files have inside already, in large steps and then in small ones; gives the refusal."""
    large = {"Image": "docket/base", "Cmd": ["true"], "Labels": {"fill": "x" * 60_000}}
    steps = [("/containers/create", large)] * 200 + [(f"/containers/other/rename?name=other-{n}", None) for n in range(2000)]
    refusals = []
    while steps and len(refusals) < 4:
        path, body = steps.pop(0)
        status, answer = daemon.ask("POST", path.replace("/other/", f"/{daemon.other}/"), body)
        if status == 500:
            refusals.append(answer["message"])
            steps = [step for step in steps if step[1] is None]
    assert len(refusals) == 4
    return str(refusals[0])


def test_a_full_disk_is_told_survived_and_made_good(disk: Path, start: Start) -> None:
    """Changes are refused with what to do, reading goes on, and the end of containers is known once there is room."""
    daemon = start().ready()
    # Several, for the last bytes of the disk may still take the end of one or two.
    names = [f"web-{number}" for number in range(8)]
    for name in names:
        daemon.out("run", "-d", "--name", name, "docket/base", "sh", "-c", "echo hello; sleep 100")
    daemon.other = daemon.out("create", "--name", "other", "docket/base", "true")
    ballast = fill(disk)
    message = exhaust(daemon)
    assert message.startswith("event log refused the append, nothing of it was kept: ")
    assert message.endswith(": make room on the disk of the data root, then repeat the request")
    refused = daemon.docket("start", "other")
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (1, f"Error response from daemon: {message}")

    pids = [int(pid) for pid in daemon.out("inspect", "-f", "{{.State.Pid}}", *names).split()]
    assert all(pid > 1 for pid in pids), daemon.lines
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    daemon.wait_for("event log refuses outcomes, they are kept and tried again")
    assert daemon.out("logs", names[-1]) == "hello"
    assert "running" in daemon.out("inspect", "-f", "{{.State.Status}}", *names)
    assert daemon.process.poll() is None

    ballast.unlink()
    daemon.wait_for("event log takes events again, nothing was lost")
    assert daemon.out("wait", *names).split() == ["137"] * len(names)
    assert daemon.out("run", "--rm", "docket/base", "echo", "again") == "again"
    assert "no event was altered" in daemon.out("audit", "verify")

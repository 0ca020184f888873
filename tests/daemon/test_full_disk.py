"""A disk that is really full under a real daemon: told, survived, and made good without a restart."""

from __future__ import annotations

import shutil
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


def test_a_full_disk_is_told_survived_and_made_good(disk: Path, start: Start) -> None:
    """Changes are refused with what to do, reading goes on, and the end of a container is known once there is room."""
    daemon = start().ready()
    daemon.out("run", "-d", "--name", "web", "docket/base", "sh", "-c", "echo hello; sleep 100")
    daemon.out("create", "--name", "other", "docket/base", "true")
    ballast = fill(disk)
    refused = daemon.docket("start", "other")
    while refused.returncode == 0:  # the WAL has room for a few more events
        daemon.docket("rename", "other", "other" if "other" in daemon.out("ps", "-a") else "again")
        refused = daemon.docket("rename", "web", "x" * 200)
        daemon.docket("rename", "x" * 200, "web")
    assert refused.returncode == 1
    assert "make room on the disk of the data root, then repeat the request" in refused.stderr
    assert len(refused.stderr.splitlines()) <= 2

    pid = int(daemon.out("inspect", "-f", "{{.State.Pid}}", "web"))
    subprocess.run(["kill", "-9", str(pid)], check=True)
    daemon.wait_for("event log refuses outcomes, they are kept and tried again")
    assert daemon.out("logs", "web") == "hello"
    assert daemon.out("inspect", "-f", "{{.State.Status}}", "web") == "running"
    assert daemon.process.poll() is None

    ballast.unlink()
    daemon.wait_for("event log takes events again, nothing was lost")
    assert daemon.out("wait", "web") == "137"
    assert daemon.out("run", "--rm", "docket/base", "echo", "again") == "again"
    assert "no event was altered" in daemon.out("audit", "verify")
    assert shutil.disk_usage(disk).free > 0

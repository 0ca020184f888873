"""Hazards of what a container leaves behind for the engine to clean (security.md, section 3 D), on the real kernel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docker_daemon import DAEMON, Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


def docket(daemon: Daemon, *arguments: str) -> str:
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_s59_the_past_does_not_show_what_was_erased(daemon: Daemon) -> None:
    """A secret that was forgotten is gone from every moment: neither inspect, log, explain nor export of then has it."""
    marker = "marker-5f0c2a"
    made = daemon.out("run", "-d", "-e", f"SECRET={marker}", "docket/base", "sleep", "1000")
    before = docket(daemon, "log", "--json").splitlines()[-1]
    position = str(json.loads(before)["position"])
    assert marker in docket(daemon, "inspect", "--at", position, made)
    daemon.out("kill", made)
    docket(daemon, "forget", made)
    shown = docket(daemon, "inspect", "--at", position, made)
    assert "SECRET=" in shown
    past = (
        shown,
        docket(daemon, "log", "--json"),
        docket(daemon, "explain", made),
        docket(daemon, "ps", "-a", "--at", position),
    )
    assert not any(marker in each for each in past)
    daemon.out("rm", made)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_s34_no_mount_stub_is_cleaned_on_the_host(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """A container replaces the parent of a mount point that was made for it by a link to a host directory (CVE-2024-23652).

    Neither the end, nor another start, nor the removal touches what the link names on the host.
    """
    canary = tmp_path / "canary"
    canary.mkdir()
    source = tmp_path / "source"
    for place in (canary / "stub", source):
        if kind == "file":
            place.write_text("the host's\n")
        else:
            place.mkdir()
            (place / "inside").write_text("the host's\n")
    before = sorted((str(path), path.stat().st_mode, path.stat().st_mtime_ns) for path in canary.rglob("*"))
    swap = f"mv /made /moved; ln -s {canary} /made; mkdir -p {canary}; true"
    made = daemon.out("create", "-v", f"{source}:/made/stub", "docket/base", "sh", "-c", swap)
    for _ in range(2):
        assert daemon.docker("start", "-a", made).returncode == 0
    assert daemon.out("start", made) == made
    daemon.out("rm", "-f", made)
    assert sorted((str(path), path.stat().st_mode, path.stat().st_mtime_ns) for path in canary.rglob("*")) == before
    assert (source if kind == "file" else source / "inside").read_text() == "the host's\n"

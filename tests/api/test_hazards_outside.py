"""Hazards of what a container leaves behind for the engine to clean (security.md, section 3 D), on the real kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from docker_daemon import Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


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

"""`--cgroup-parent` through the docker CLI on a kernel with cgroup v2 controllers: where groups lie, and what is left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_daemon import Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.controllers("memory", "pids"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]

ROOT = Path("/sys/fs/cgroup")


@pytest.fixture
def tidy() -> Iterator[None]:
    """Parents stay, as with Docker: here the test removes its own."""
    yield
    for top in ("dockettest", "dockettest.slice"):
        for path in sorted(ROOT.glob(f"{top}/**/"), reverse=True):
            path.rmdir()


@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("/dockettest/web", "dockettest/web"),
        ("dockettest-web.slice", "dockettest.slice/dockettest-web.slice"),
    ],
)
def test_a_containers_group_lies_below_its_parent(daemon: Daemon, tidy: None, parent: str, path: str) -> None:
    """With its limits in force, shown by inspect and used by stats, an exec, pause and the end."""
    made = daemon.out("run", "-d", "--cgroup-parent", parent, "--memory", "64m", "docket/base", "sleep", "1000")
    group = ROOT / path / made
    assert (group / "memory.max").read_text() == "67108864\n"
    pid = daemon.out("inspect", "-f", "{{.State.Pid}}", made)
    assert (group / "cgroup.procs").read_text().split() == [pid]
    assert daemon.out("inspect", "-f", "{{.HostConfig.CgroupParent}}", made) == parent
    assert daemon.out("exec", made, "cat", "/proc/self/cgroup") == "0::/"
    assert "64MiB" in daemon.out("stats", "--no-stream", "--format", "{{.MemUsage}}", made)
    daemon.out("pause", made)
    assert (group / "cgroup.freeze").read_text() == "1\n"
    daemon.out("unpause", made)
    daemon.out("rm", "-f", made)
    assert not group.exists()
    assert group.parent.exists()


def test_a_parent_that_somebody_else_made_hands_controllers_on(daemon: Daemon, tidy: None) -> None:
    """A delegated subtree whose own parent has none enabled yet; what is in it stays."""
    (ROOT / "dockettest" / "deep" / "deeper").mkdir(parents=True)
    made = daemon.out(
        "run", "-d", "--cgroup-parent", "/dockettest/deep/deeper", "--pids-limit", "9", "docket/base", "sleep", "100"
    )
    assert (ROOT / "dockettest/deep/deeper" / made / "pids.max").read_text() == "9\n"
    daemon.out("rm", "-f", made)
    assert (ROOT / "dockettest" / "deep" / "deeper").exists()


def test_a_parent_with_processes_is_refused_by_the_kernel(daemon: Daemon, tidy: None) -> None:
    """cgroup-v2, "No Internal Process Constraint": the reason names the file, and nothing is left."""
    made = daemon.out("run", "-d", "--cgroup-parent", "/dockettest", "docket/base", "sleep", "1000")
    done = daemon.docker("run", "--rm", "--cgroup-parent", f"/dockettest/{made}", "--memory", "64m", "docket/base", "true")
    assert done.returncode != 0
    assert "cgroup.subtree_control: Device or resource busy" in done.stderr
    daemon.out("rm", "-f", made)


def test_a_crashed_engine_finds_the_group_again(daemon: Daemon, tidy: None) -> None:
    """The next one removes it when the container has ended meanwhile."""
    made = daemon.out("run", "-d", "--cgroup-parent", "/dockettest", "docket/base", "sleep", "1000")
    group = ROOT / "dockettest" / made
    daemon.stop(9)
    (group / "cgroup.kill").write_text("1")
    daemon.start()
    daemon.docker("wait", made)
    assert not group.exists()
    daemon.out("rm", made)


@pytest.mark.parametrize("parent", ["../outside", "/a/../../b", "a--b.slice"])
def test_a_parent_that_is_none_is_refused(daemon: Daemon, parent: str) -> None:
    """It becomes part of a path on the host."""
    done = daemon.docker("run", "--rm", "--cgroup-parent", parent, "docket/base", "true")
    assert done.returncode == 125
    assert "invalid cgroup-parent" in done.stderr

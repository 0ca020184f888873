"""``native.cgroupdriver=systemd`` through the docker CLI, on a host whose init is systemd (``vm/run 'vm/with-systemd …'``)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_daemon import Daemon

from docket.kernel.linux.systemd import why_no_systemd

REASON = why_no_systemd()
pytestmark = [
    pytest.mark.root,
    pytest.mark.controllers("memory", "pids"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
    pytest.mark.skipif(bool(REASON), reason=f"needs systemd as the init, as vm/with-systemd has it: {REASON}"),
]
ROOT = Path("/sys/fs/cgroup")
OPTIONS = ("--exec-opt", "native.cgroupdriver=systemd")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("docket"), options=OPTIONS)
    yield running
    for container in running.out("ps", "-aq").split():
        running.docker("rm", "-f", container)
    running.stop()
    assert not os.listdir(running.root / "exec" / "containers")
    assert becomes(lambda: scopes() == [])


def scopes() -> list[str]:
    """What systemd knows of docket, failed units too."""
    listed = subprocess.run(
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", "docket-*"], text=True, capture_output=True, check=True
    )
    return [line.split()[0] for line in listed.stdout.splitlines()]


def show(unit: str, *properties: str) -> list[str]:
    options = [f"--property={name}" for name in properties]
    return subprocess.run(
        ["systemctl", "show", "--value", *options, unit], text=True, capture_output=True, check=True
    ).stdout.split()


def becomes(what: Callable[[], bool]) -> bool:
    """Whether something becomes true within seconds."""
    end = time.monotonic() + 10
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ([], "system.slice"),
        (["--cgroup-parent", "dockettest-web.slice"], "dockettest.slice/dockettest-web.slice"),
    ],
)
def test_a_container_runs_in_a_scope_of_its_slice(daemon: Daemon, options: list[str], path: str) -> None:
    """With its limits in force, shown by inspect, changed by update, and used by stats, exec, pause and the end."""
    limits = ["--memory", "64m", "--pids-limit", "1"]
    made = daemon.out("run", "-d", *options, *limits, "docket/base", "sleep", "1000")
    unit = f"docket-{made}.scope"
    scope = ROOT / path / unit
    group = scope / "container"
    assert (group / "memory.max").read_text() == "67108864\n"
    assert (group / "pids.max").read_text() == "1\n"
    assert (scope / "pids.max").read_text() == "max\n"
    pid = daemon.out("inspect", "-f", "{{.State.Pid}}", made)
    assert (group / "cgroup.procs").read_text().split() == [pid]
    assert Path(f"/proc/{pid}/cgroup").read_text() == f"0::/{path}/{unit}/container\n"
    assert sorted(show(unit, "ActiveState", "Delegate", "Slice")) == sorted(["active", "yes", Path(path).name])
    daemon.out("update", "--pids-limit", "20", "--memory", "32m", "--memory-swap", "32m", made)
    assert (group / "pids.max").read_text() == "20\n"
    assert daemon.out("exec", made, "cat", "/proc/self/cgroup") == "0::/"
    assert "32MiB" in daemon.out("stats", "--no-stream", "--format", "{{.MemUsage}}", made)
    daemon.out("pause", made)
    assert (group / "cgroup.freeze").read_text() == "1\n"
    daemon.out("unpause", made)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert (group / "memory.max").read_text() == "33554432\n"
    daemon.out("rm", "-f", made)
    assert becomes(lambda: scopes() == [])
    assert not scope.exists()


def test_info_and_inspect_name_the_driver(daemon: Daemon) -> None:
    """As Docker's do; the parent is shown as it was given."""
    assert daemon.out("info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}}") == "systemd 2"
    made = daemon.out("create", "--cgroup-parent", "a-b.slice", "docket/base", "true")
    assert daemon.out("inspect", "-f", "{{.HostConfig.CgroupParent}}", made) == "a-b.slice"
    daemon.out("rm", made)


@pytest.mark.parametrize("parent", ["/dockettest", "dockettest", "a.service"])
def test_a_parent_that_is_no_slice_is_refused(daemon: Daemon, parent: str) -> None:
    """systemd has no other place for a scope."""
    done = daemon.docker("create", "--cgroup-parent", parent, "docket/base", "true")
    assert 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"' in done.stderr


def test_a_hog_is_reported_though_systemd_removes_the_scope(daemon: Daemon) -> None:
    """The count of its kills goes with its cgroup; the failed scope is not kept."""
    hog = "x=0123456789abcdef; while :; do x=$x$x; done"
    for _ in range(3):
        done = daemon.docker("run", "--name", "hog", "-m", "32m", "--memory-swap", "32m", "docket/base", "sh", "-c", hog)
        assert done.returncode == 137
        assert daemon.out("inspect", "-f", "{{.State.OOMKilled}}", "hog") == "true"
        daemon.out("rm", "hog")
    assert becomes(lambda: scopes() == [])


def test_a_container_restarts_at_once(daemon: Daemon) -> None:
    """Its scope's name is free again, also with a client that still has output to read."""
    made = daemon.out("run", "-d", "docket/base", "sh", "-c", "trap exit TERM; while :; do sleep 0.1; done")
    for _ in range(5):
        daemon.out("restart", "-t", "0", made)
        assert scopes() == [f"docket-{made}.scope"]
    daemon.out("rm", "-f", made)
    daemon.out("run", "--rm", "docket/base", "true")
    assert becomes(lambda: scopes() == [])


def test_a_start_that_fails_leaves_no_scope(daemon: Daemon) -> None:
    """The shim was in it already."""
    assert daemon.docker("run", "--rm", "docket/base", "/no/such/program").returncode == 127
    assert becomes(lambda: scopes() == [])


def test_processes_that_stay_behind_end_with_the_container(daemon: Daemon) -> None:
    """In the host's pid namespace nothing else ends them."""
    script = "sleep 1234567 & echo started; exit 5"
    assert daemon.docker("run", "--name", "left", "--pid", "host", "docket/base", "sh", "-c", script).returncode == 5
    assert becomes(lambda: scopes() == [])
    assert not any("1234567" in text for text in commands())
    daemon.out("rm", "left")


def commands() -> list[str]:
    return [path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]


def test_whoever_stops_the_scope_stops_the_container(daemon: Daemon) -> None:
    """SIGTERM reaches it and not its shim, so how it ended is in the log."""
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    made = daemon.out("run", "-d", "docket/base", "sh", "-c", script)
    assert becomes(lambda: daemon.out("logs", made) == "ready")
    subprocess.run(["systemctl", "stop", f"docket-{made}.scope"], check=True, timeout=30)
    assert daemon.out("wait", made) == "7"
    assert daemon.out("logs", made) == "ready\nbye"
    daemon.out("rm", made)


def test_a_container_outlives_a_daemon_that_is_killed_and_leaves_nothing(daemon: Daemon) -> None:
    """The next daemon finds it running; one that ended meanwhile is told, and no scope is left."""
    lives, ends = (daemon.out("run", "-d", "docket/base", "sleep", "1000") for _ in range(2))
    pid = daemon.out("inspect", "-f", "{{.State.Pid}}", ends)
    daemon.stop(signal.SIGKILL)
    os.kill(int(pid), signal.SIGKILL)
    daemon.start()
    assert daemon.out("inspect", "-f", "{{.State.Running}}", lives) == "true"
    assert daemon.out("wait", ends) == "137"
    assert becomes(lambda: scopes() == [f"docket-{lives}.scope"])
    daemon.out("rm", "-f", lives, ends)
    assert becomes(lambda: scopes() == [])


def test_a_killed_shim_takes_container_and_scope_along(daemon: Daemon) -> None:
    """Nobody can tell how the container ended: it does not run on unseen."""
    made = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    [shim] = (ROOT / "system.slice" / f"docket-{made}.scope" / "shim" / "cgroup.procs").read_text().split()
    os.kill(int(shim), signal.SIGKILL)
    assert daemon.out("wait", made) == "137"
    assert becomes(lambda: scopes() == [])
    daemon.out("rm", made)


def test_what_a_container_was_made_with_stays(daemon: Daemon, tmp_path: Path) -> None:
    """A daemon with the other driver starts it in a scope all the same."""
    made = daemon.out("create", "docket/base", "sleep", "1000")
    daemon.stop()
    daemon._options = ()
    daemon.start()
    try:
        assert daemon.out("info", "-f", "{{.CgroupDriver}}") == "cgroupfs"
        daemon.out("start", made)
        assert scopes() == [f"docket-{made}.scope"]
        daemon.out("rm", "-f", made)
    finally:
        daemon.stop()
        daemon._options = OPTIONS
        daemon.start()

"""Recordings, replays, exported logs, fsck and drift on the real kernel, with a daemon of this file's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker_daemon import DAEMON, Daemon

pytestmark = pytest.mark.root

DRIFT_SECONDS = 5


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that a test may kill."""
    daemon = Daemon(tmp_path)
    yield daemon
    for container in docket(daemon, "ps", "-aq").split():
        docket(daemon, "rm", "-f", container)
    daemon.stop()


def run(daemon: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKET_HOST": daemon.host}
    command = [sys.executable, "-c", DAEMON, *words]
    return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60, check=False)


def docket(daemon: Daemon, *words: str) -> str:
    done = run(daemon, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def within(seconds: float, look: Callable[[], bool]) -> None:
    """What is looked for must be there in time."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


def pid_of(daemon: Daemon, container: str) -> int:
    return int(docket(daemon, "inspect", container, "-f", "{{.State.Pid}}"))


def test_an_exit_status_is_kept_while_no_daemon_runs(own: Daemon) -> None:
    """The shim leaves it on disk, and the next daemon reads it."""
    docket(own, "run", "-d", "--name", "brief", "docket/base", "sh", "-c", "sleep 1; exit 7")
    pid = pid_of(own, "brief")
    own.stop(signal.SIGKILL)
    within(10, lambda: not os.path.exists(f"/proc/{pid}"))
    own.start()
    assert docket(own, "inspect", "brief", "-f", "{{.State.ExitCode}}").strip() == "7"


def test_jobs_replay_across_the_death_of_a_daemon(own: Daemon, tmp_path: Path) -> None:
    """Through the daemon and from an exported file, recovery's questions included; no secret is in the file."""
    docket(own, "run", "-d", "--name", "web", "-e", "TOKEN=hunter2", "docket/base", "sleep", "1000")
    docket(own, "exec", "web", "true", "hunter2")
    docket(own, "pause", "web")
    own.stop(signal.SIGKILL)
    own.start()
    docket(own, "unpause", "web")
    docket(own, "rm", "-f", "web")
    told = docket(own, "replay", "web")
    assert {line.split()[1].rstrip(":") for line in told.splitlines()} >= {"start", "exec_start", "pause", "unpause", "remove"}
    assert "DIFFERS" not in told
    assert "pivot_root" in docket(own, "explain", "web")
    file = tmp_path / "log.docket"
    docket(own, "log", "export", str(file))
    own_replay = run(own, "--log", str(file), "replay", "web")
    assert (own_replay.returncode, own_replay.stdout) == (0, told)
    lines = subprocess.run(["zcat", "-f"], stdin=file.open("rb"), capture_output=True, check=True).stdout
    assert b"hunter2" not in lines


def test_fsck_finds_nothing_in_a_healthy_engine_and_repairs_what_is_strange(own: Daemon) -> None:
    """Exit status 0 and 1; a repair is an event."""
    docket(own, "run", "-d", "--name", "web", "docket/base", "sleep", "1000")
    assert "all is well" in docket(own, "fsck")
    stranger = own.root / "exec" / "shims" / ("f" * 64)
    stranger.mkdir()
    found = run(own, "fsck")
    assert found.returncode == 1
    assert "the log names no container that this shim belongs to" in found.stdout
    assert stranger.exists()
    assert "repaired: remove the shim" in docket(own, "fsck", "--repair")
    assert not stranger.exists()
    assert "EngineRepaired" in docket(own, "log", "--type", "EngineRepaired")
    next((own.root / "data" / "content" / "blobs" / "sha256").iterdir()).unlink()
    assert "is missing: remove the image and import it again" in run(own, "fsck").stdout


def test_a_compacted_log_goes_on_as_it_was(own: Daemon, tmp_path: Path) -> None:
    """Through the daemon, its death and its next start: the past is there, the chain verifies, and what runs runs on."""
    docket(own, "run", "-d", "--name", "web", "docket/base", "sleep", "1000")
    for _ in range(3):
        docket(own, "run", "--rm", "docket/base", "true")
    before, pid = docket(own, "log", "--json").splitlines(), pid_of(own, "web")
    containers = docket(own, "ps", "-a", "--at", "8", "--format", "{{.ID}} {{.Names}} {{.State}} {{.Command}}")
    assert "events archived; 1 archives of" in docket(own, "log", "compact", "--keep", "5")
    for _ in range(2):
        after = docket(own, "log", "--json").splitlines()
        assert after[: len(before)] == before
        assert docket(own, "ps", "-a", "--at", "8", "--format", "{{.ID}} {{.Names}} {{.State}} {{.Command}}") == containers
        assert "no event was altered" in docket(own, "audit", "verify")
        assert "all is well" in docket(own, "fsck")
        own.stop(signal.SIGKILL)
        own.start()
    assert pid_of(own, "web") == pid
    docket(own, "log", "export", str(tmp_path / "log.docket"))
    assert run(own, "--log", str(tmp_path / "log.docket"), "log", "--json").stdout.splitlines()[: len(before)] == before
    refused = run(own, "log", "compact", "--keep", "x")
    assert (refused.returncode, refused.stderr) == (1, "invalid value for --keep: 'x': it must be a number of events\n")


def test_a_lost_mount_and_a_lost_cgroup_become_events(own: Daemon) -> None:
    """Within five seconds of what somebody did behind the engine's back."""
    docket(own, "run", "-d", "--name", "web", "docket/base", "sleep", "1000")
    pid = pid_of(own, "web")
    group = next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    subprocess.run(["nsenter", "-m", "-t", str(pid), "umount", "-l", "/sys"], check=True)
    within(DRIFT_SECONDS, lambda: "mount /sys" in docket(own, "log", "--type", "ContainerDrifted"))
    root = docket(own, "log", "--type", "ContainerStarted", "--json").partition('"cgroup":"')[2].partition('"')[0]
    Path(root.removesuffix(group), "cgroup.procs").write_text(str(pid))
    within(DRIFT_SECONDS, lambda: "what=cgroup" in docket(own, "log", "--type", "ContainerDrifted"))


def test_a_killed_shim_ends_its_container_and_says_why(own: Daemon) -> None:
    """Its process dies with it, and the log knows within five seconds."""
    docket(own, "run", "-d", "--name", "web", "docket/base", "sleep", "1000")
    pid = pid_of(own, "web")
    shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shim, signal.SIGKILL)
    within(DRIFT_SECONDS, lambda: "ContainerExited" in docket(own, "log", "--type", "ContainerExited"))
    assert "the shim of" in docket(own, "log", "--type", "ContainerExited")
    within(DRIFT_SECONDS, lambda: not os.path.exists(f"/proc/{pid}"))


def test_another_daemon_leaves_containers_alone(own: Daemon, tmp_path: Path) -> None:
    """Daemons with roots of their own share the host's cgroups; each takes back only what its log names."""
    docket(own, "run", "-d", "--name", "web", "docket/base", "sleep", "1000")
    pid = pid_of(own, "web")
    (tmp_path / "other").mkdir()
    other = Daemon(tmp_path / "other")
    assert "all is well" in docket(other, "fsck", "--repair")
    other.stop()
    assert os.path.exists(f"/proc/{pid}")

"""Limits through the docker CLI on a kernel with all cgroup v2 controllers: they hold, are shown, and can be changed."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_daemon import DAEMON, Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.controllers("cpu", "cpuset", "io", "memory", "pids"),
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]

GROUPS = Path("/sys/fs/cgroup/docket")
MEMORY = ["--memory", "32m", "--memory-swap", "32m"]


@pytest.fixture
def sleeper(daemon: Daemon) -> Iterator[str]:
    """A running container with a few limits."""
    made = daemon.out("run", "-d", *MEMORY, "--pids-limit", "20", "docket/base", "sleep", "1000")
    yield made
    daemon.out("rm", "-f", made)


def group(container: str) -> Path:
    """The container's cgroup, in the one that its engine has for itself."""
    [found] = GROUPS.glob(f"*/{container}")
    return found


def limit(container: str, file: str) -> str:
    return (group(container) / file).read_text().strip()


def stats(daemon: Daemon, container: str) -> dict[str, Any]:
    status, sample = daemon.request("GET", f"/containers/{container}/stats?stream=0&one-shot=1")
    assert status == 200
    found: dict[str, Any] = sample
    return found


def test_a_memory_hog_is_killed_and_reported(daemon: Daemon) -> None:
    """Exit 137, OOMKilled, and an event of its own before the end."""
    since = str(int(time.time()) - 1)
    hog = "x=0123456789abcdef; while :; do x=$x$x; done"
    assert daemon.docker("run", *MEMORY, "--name", "hog", "docket/base", "sh", "-c", hog).returncode == 137
    assert daemon.out("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hog") == "true 137"
    until = str(int(time.time()) + 1)
    told = daemon.out(
        "events", "--since", since, "--until", until, "--filter", "container=hog", "--format", "{{.Action}}"
    ).split()
    assert told[-2:] == ["oom", "die"]
    daemon.out("rm", "hog")


def test_a_fork_bomb_stops_at_its_limit(daemon: Daemon) -> None:
    """The hundredth process is refused, and the machine does not notice."""
    bomb = "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done"
    done = daemon.docker("run", "--rm", "--pids-limit", "20", "docket/base", "sh", "-c", bomb)
    assert done.returncode != 0
    assert "can't fork" in done.stderr


def test_a_cpu_quota_throttles_to_what_it_says(daemon: Daemon) -> None:
    """A busy loop gets no more than its share, within 10 %, and the throttling is counted."""
    made = daemon.out("run", "-d", "--cpus", "0.2", "docket/base", "sh", "-c", "while :; do :; done")
    assert limit(made, "cpu.max") == "20000 100000"
    samples = [sampled(made)]
    while samples[-1][0] - samples[0][0] < 2:
        time.sleep(0.1)
        samples.append(sampled(made))
    seconds, used = (last - first for first, last in zip(samples[0], samples[-1], strict=True))
    throttled = stats(daemon, made)["cpu_stats"]["throttling_data"]
    daemon.out("rm", "-f", made)
    assert used / seconds <= 0.2 * 1.1
    assert throttled["throttled_periods"] > 0
    assert throttled["throttled_time"] > 0


def sampled(container: str) -> tuple[float, float]:
    """The time, and the CPU time that the container has used, in seconds."""
    used = next(line.split()[1] for line in limit(container, "cpu.stat").splitlines() if line.startswith("usage_usec"))
    return time.monotonic(), int(used) / 1e6


@pytest.mark.parametrize(
    ("options", "file", "value"),
    [
        (["--cpu-shares", "512"], "cpu.weight", "20"),
        (["--cpu-quota", "5000", "--cpu-period", "10000"], "cpu.max", "5000 10000"),
        (["--cpuset-cpus", "0"], "cpuset.cpus", "0"),
        (["--cpuset-mems", "0"], "cpuset.mems", "0"),
        (["--memory", "64m"], "memory.max", "67108864"),
        (["--memory", "64m"], "memory.swap.max", "67108864"),
        (["--memory", "64m", "--memory-swap", "-1"], "memory.swap.max", "max"),
        (["--memory-reservation", "32m"], "memory.low", "33554432"),
        (["--pids-limit", "-1"], "pids.max", "max"),
        ([], "pids.max", "32768"),
        (["--blkio-weight", "500"], "io.weight", "default 4950"),
        (["--device-write-bps", "/dev/ubda:1mb"], "io.max", "98:0 rbps=max wbps=1048576 riops=max wiops=max"),
        (["--device-read-iops", "/dev/ubda:50"], "io.max", "98:0 rbps=max wbps=max riops=50 wiops=max"),
    ],
)
def test_a_limit_is_what_the_kernel_has(daemon: Daemon, options: list[str], file: str, value: str) -> None:
    """Docker's numbers in cgroup v2's words."""
    if any("/dev/ubda" in option for option in options) and not Path("/dev/ubda").exists():
        pytest.skip("needs the disk of the machine of vm/run")
    made = daemon.out("run", "-d", *options, "docket/base", "sleep", "1000")
    try:
        assert limit(made, file) == value
    finally:
        daemon.out("rm", "-f", made)


def test_a_cpu_set_is_seen_inside(daemon: Daemon) -> None:
    """The process may run there and nowhere else."""
    look = ("sh", "-c", "grep Cpus_allowed_list /proc/self/status")
    assert daemon.out("run", "--rm", "--cpuset-cpus", "0", "docket/base", *look).split()[1] == "0"


def test_a_disk_that_is_none_is_refused(daemon: Daemon) -> None:
    """No limit is dropped."""
    done = daemon.docker("run", "--rm", "--device-write-bps", "/dev/null:1mb", "docket/base", "true")
    assert done.returncode == 125
    assert "cannot limit /dev/null: no such block device" in done.stderr


def test_statistics_come_from_the_cgroup(daemon: Daemon, sleeper: str) -> None:
    """Use and limits in Docker's form, and the pressure as docket's own extra."""
    sample = stats(daemon, sleeper)
    assert sample["memory_stats"]["limit"] == 32 << 20
    assert 0 < sample["memory_stats"]["usage"] < 32 << 20
    assert sample["pids_stats"] == {"current": 1, "limit": 20}
    assert sample["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert set(sample["pressure_stats"]) == {"cpu", "memory", "io"}
    assert "avg10" in sample["pressure_stats"]["memory"]["full"]
    assert "32MiB" in daemon.out("stats", "--no-stream", "--format", "{{.MemUsage}}", sleeper)


def test_limits_change_while_the_container_runs(daemon: Daemon, sleeper: str) -> None:
    """`docker update`: in the kernel, in inspect, as an event and in the log; what was not named stays."""
    since = str(int(time.time()) - 1)
    daemon.out("update", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", sleeper)
    assert [limit(sleeper, file) for file in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")] == [
        "67108864", "0", "50000 100000", "20",
    ]  # fmt: skip
    shown = daemon.out("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}", sleeper)
    assert shown == "67108864 500000000 20"
    until = str(int(time.time()) + 1)
    told = daemon.out("events", "--since", since, "--until", until, "--filter", "event=update", "--format", "{{.ID}}")
    assert told == sleeper
    daemon.out("restart", "-t", "0", sleeper)
    assert limit(sleeper, "memory.max") == "67108864"


def test_a_container_that_does_not_run_gets_new_limits_when_it_starts(daemon: Daemon) -> None:
    """The update is accepted, and nothing is written before."""
    made = daemon.out("create", "docket/base", "sleep", "1000")
    daemon.out("update", "--pids-limit", "7", made)
    daemon.out("start", made)
    assert limit(made, "pids.max") == "7"
    daemon.out("rm", "-f", made)


def test_an_update_that_the_kernel_refuses_changes_nothing(daemon: Daemon, sleeper: str) -> None:
    """Not even the part that it accepted: limits in the kernel are those that the log knows."""
    done = daemon.docker("update", "--memory", "64m", "--memory-swap", "64m", "--cpuset-mems", "5", sleeper)
    assert done.returncode == 1
    assert "cpuset.mems" in done.stderr
    assert limit(sleeper, "memory.max") == str(32 << 20)
    assert daemon.out("inspect", "-f", "{{.HostConfig.Memory}}", sleeper) == str(32 << 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
        (["--cpus", "1000"], "range of CPUs is from 0.01 to"),
        (["--cpuset-cpus", "nonsense"], "Invalid value nonsense for cpuset cpus"),
        (["--restart", "always"], "restart policy"),
    ],
)
def test_an_update_that_makes_no_sense_is_refused(daemon: Daemon, sleeper: str, options: list[str], message: str) -> None:
    """In Docker's words, before anything is written."""
    done = daemon.docker("update", *options, sleeper)
    assert done.returncode == 1
    assert message in done.stderr


def test_every_limit_is_shown_where_one_looks_for_it(daemon: Daemon) -> None:
    """All limits at once: in the kernel, in inspect, and in the log as what was written where."""
    asked = {
        "--cpu-shares": ("512", "CpuShares", 512, "cpu.weight", "20"),
        "--cpu-quota": ("50000", "CpuQuota", 50_000, "cpu.max", "50000 20000"),
        "--cpu-period": ("20000", "CpuPeriod", 20_000, "cpu.max", "50000 20000"),
        "--cpuset-cpus": ("0", "CpusetCpus", "0", "cpuset.cpus", "0"),
        "--cpuset-mems": ("0", "CpusetMems", "0", "cpuset.mems", "0"),
        "--memory": ("64m", "Memory", 64 << 20, "memory.max", "67108864"),
        "--memory-swap": ("96m", "MemorySwap", 96 << 20, "memory.swap.max", "33554432"),
        "--memory-reservation": ("32m", "MemoryReservation", 32 << 20, "memory.low", "33554432"),
        "--pids-limit": ("25", "PidsLimit", 25, "pids.max", "25"),
        "--blkio-weight": ("500", "BlkioWeight", 500, "io.weight", "default 4950"),
    }
    options = [word for flag, row in asked.items() for word in (flag, row[0])]
    made = daemon.out("run", "-d", *options, "docket/base", "sleep", "1000")
    shown = json.loads(daemon.out("inspect", "-f", "{{json .HostConfig}}", made))
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, "explain", made]
    explained = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    sample = stats(daemon, made)
    for _, field, value, file, written in asked.values():
        assert shown[field] == value
        assert limit(made, file) == written
        assert f"{shlex.quote(written)} > {group(made)}/{file}" in explained
    assert (sample["memory_stats"]["limit"], sample["pids_stats"]["limit"]) == (64 << 20, 25)
    daemon.out("rm", "-f", made)


def test_the_log_tells_what_was_applied(daemon: Daemon, sleeper: str) -> None:
    """Each limit of the start is an operation with its result; `explain` shows them as commands."""
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, "explain", sleeper]
    explained = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"echo 33554432 > {group(sleeper)}/memory.max" in explained
    assert f"echo 20 > {group(sleeper)}/pids.max" in explained

"""The unmodified docker CLI against a real daemon on the real kernel."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from docker_daemon import CLIENT_RELEASE, DAEMON, Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


def test_run_prints_output_and_gives_the_exit_code(daemon: Daemon) -> None:
    """Both streams arrive apart, and the container is gone afterwards."""
    done = daemon.docker("run", "--rm", "docket/base", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert daemon.out("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("nosuch", 127, "executable file not found"),
        ("/etc/passwd", 126, "permission denied"),
        # Older clients do not know the text.
        ("/etc", 126 if CLIENT_RELEASE >= 25 else 125, "is a directory"),
    ],
)
def test_a_command_that_cannot_run_gives_dockers_code_and_text(daemon: Daemon, command: str, code: int, text: str) -> None:
    """Scripts tell 126 from 127."""
    done = daemon.docker("run", "--rm", "docket/base", command)
    assert done.returncode == code
    assert text in done.stderr


def test_stdin_half_close_reaches_the_process(daemon: Daemon) -> None:
    """`echo x | docker run -i` ends."""
    assert daemon.out("run", "--rm", "-i", "docket/base", "cat", stdin="through\n") == "through"


def test_the_default_confinement_is_dockers(daemon: Daemon) -> None:
    """S9 and S13: fourteen capabilities, no inheritable ones, a filter in force, new namespaces refused."""
    status = daemon.out("run", "--rm", "docket/base", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["CapBnd"] == fields["CapEff"] == "00000000a80425fb"
    assert fields["CapInh"] == fields["CapAmb"] == "0" * 16
    assert fields["Seccomp"] == "2"
    refused = daemon.docker("run", "--rm", "docket/base", "unshare", "-m", "true")
    assert "Operation not permitted" in refused.stderr
    written = daemon.docker("run", "--rm", "docket/base", "sh", "-c", "echo 1 > /proc/sys/kernel/panic")
    assert written.returncode != 0


def test_s2_only_the_standard_descriptors_are_open(daemon: Daemon) -> None:
    """Nothing of the engine leaks into a container (CVE-2024-21626)."""
    look = "for fd in $(seq 0 64); do if [ -e /proc/$$/fd/$fd ]; then echo $fd; fi; done"
    assert daemon.out("run", "--rm", "docket/base", "sh", "-c", look).split() == ["0", "1", "2"]
    leaked = daemon.docker("run", "--rm", "-w", "/proc/self/fd/7", "docket/base", "pwd")
    assert leaked.returncode != 0


def test_the_life_of_a_container(daemon: Daemon) -> None:
    """start, logs, exec, top, pause, stop, restart, rename, kill, rm: each as the docker CLI expects it."""
    script = 'trap "echo bye; exit 5" TERM; echo up; while true; do sleep 0.05; done'
    daemon.out("run", "-d", "--name", "life", "docket/base", "sh", "-c", script)
    done = daemon.docker("exec", "life", "sh", "-c", "echo in; exit 4")
    assert (done.stdout, done.returncode) == ("in\n", 4)
    assert daemon.docker("exec", "life", "nosuch").returncode == 127
    assert "sleep" in daemon.out("top", "life")
    daemon.out("pause", "life")
    assert "(Paused)" in daemon.out("ps", "--filter", "name=life")
    daemon.out("unpause", "life")
    daemon.out("stop", "life")
    assert daemon.out("logs", "life") == "up\nbye"
    assert daemon.out("inspect", "-f", "{{.State.ExitCode}}", "life") == "5"
    daemon.out("restart", "-t", "1", "life")
    daemon.out("rename", "life", "after")
    assert daemon.docker("rm", "after").returncode == 1
    daemon.out("kill", "after")
    assert daemon.out("wait", "after") == "137"
    daemon.out("rm", "after")
    assert "No such container" in daemon.docker("inspect", "--type", "container", "after").stderr.replace("no such", "No such")


def test_mounts_and_read_only_roots_hold(daemon: Daemon, tmp_path: Path) -> None:
    """What was asked read-only cannot be written; a tmpfs can."""
    done = daemon.docker(
        "run", "--rm", "--read-only", "--tmpfs", "/t", "-v", f"{tmp_path}:/mnt:ro", "docket/base",
        "sh", "-c", "touch /t/x && echo ok; touch /x; touch /mnt/x",
    )  # fmt: skip
    assert done.stdout == "ok\n"
    assert done.stderr.count("Read-only file system") == 2
    assert not list(tmp_path.iterdir())


def test_a_killed_daemon_loses_neither_container_nor_output(daemon: Daemon) -> None:
    """kill -9 while a container runs: it lives on, its output goes on, and its end becomes known."""
    daemon.out(
        "run",
        "-d",
        "--name",
        "survivor",
        "docket/base",
        "sh",
        "-c",
        "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done",
    )
    daemon.stop(signal.SIGKILL)
    time.sleep(0.3)
    daemon.start()
    assert daemon.out("inspect", "-f", "{{.State.Running}}", "survivor") == "true"
    assert daemon.out("exec", "survivor", "echo", "again") == "again"
    daemon.out("kill", "survivor")
    lines = daemon.out("logs", "survivor").split()
    assert lines == [str(number) for number in range(len(lines))]
    assert len(lines) > 5
    daemon.out("rm", "survivor")


def test_every_job_is_in_the_log_from_acceptance_to_outcome(daemon: Daemon) -> None:
    """The log answers who asked for what, and what became of it."""
    daemon.out("run", "--rm", "docket/base", "true")
    for _ in range(100):  # outcomes that nobody waits for become durable with the next commit
        entries = _log_of(daemon)
        accepted = {entry["job"] for entry in entries if entry["type"] == "JobAccepted" and entry["data"]["name"] != "serveapi"}
        ended = {entry["data"]["job"] for entry in entries if entry["type"] in {"JobCompleted", "JobFailed"}}
        if accepted <= ended:
            break
        time.sleep(0.05)
    assert accepted <= ended, [entry["data"] for entry in entries if entry["job"] in accepted - ended]
    assert [entry["position"] for entry in entries] == list(range(1, len(entries) + 1))
    actors = {entry["actor"].split(" pid")[0] for entry in entries if entry["job"] in accepted}
    assert actors <= {"uid=0 gid=0", "engine"}


def test_the_past_is_there_to_look_at(daemon: Daemon) -> None:
    """`ps --at` shows a container that is gone, `explain` the kernel's part, `audit verify` that nothing was altered."""
    daemon.out("run", "--name", "past", "docket/base", "true")
    position = max(entry["position"] for entry in _log_of(daemon) if entry["type"] == "ContainerExited")
    explained = _docket(daemon, "explain", "past")
    assert "pivot_root" in explained
    daemon.out("rm", "past")
    assert "past" not in _docket(daemon, "ps", "-a")
    assert "past" in _docket(daemon, "ps", "-a", "--at", str(position))
    _docket(daemon, "audit", "verify")


def test_images_that_are_gone_are_there_to_look_at(daemon: Daemon) -> None:
    """`images --at` shows a name that was taken away since."""
    daemon.out("tag", "docket/base", "bygone:1")
    position = max(entry["position"] for entry in _log_of(daemon))
    daemon.out("rmi", "bygone:1")
    assert "bygone" not in _docket(daemon, "images")
    assert "bygone" in _docket(daemon, "images", "--at", str(position))


def test_events_are_told_in_dockers_words(daemon: Daemon) -> None:
    """create, start, die with its exit code, destroy: once each and in order."""
    since = str(int(time.time()) - 1)
    assert daemon.docker("run", "--rm", "--name", "told", "docket/base", "sh", "-c", "exit 3").returncode == 3
    told = daemon.out(
        "events", "--since", since, "--until", str(int(time.time()) + 1), "--filter", "container=told", "--format", "{{json .}}"
    )
    messages = [json.loads(line) for line in told.splitlines()]
    assert [message["Action"] for message in messages] == ["create", "start", "die", "destroy"]
    assert messages[2]["Actor"]["Attributes"]["exitCode"] == "3"


def test_images_are_imported_tagged_and_removed(daemon: Daemon, tmp_path: Path) -> None:
    """A tar becomes an image that runs with what -c says, and goes when its last name goes."""
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/busybox", tmp_path / "bin" / "busybox")
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tmp_path / "i.tar"), "bin"], check=True, timeout=60)
    identifier = daemon.out("import", "-c", 'CMD ["/bin/busybox", "echo", "imported"]', str(tmp_path / "i.tar"), "mine:1")
    assert daemon.out("run", "--rm", "mine:1") == "imported"
    daemon.out("tag", "mine:1", "mine:2")
    assert daemon.out("image", "inspect", "-f", "{{.Id}}", "mine:2") == identifier
    daemon.out("rmi", "mine:1", "mine:2")
    assert "No such image" in daemon.docker("image", "inspect", "mine:2").stderr


def test_a_limit_or_an_option_that_cannot_be_kept_is_refused(daemon: Daemon) -> None:
    """Nothing is dropped silently, and nothing is left behind."""
    for option in (["--restart", "always"], ["-p", "80:80"], ["--security-opt", "seccomp=/etc/hostname"]):
        assert daemon.docker("run", "--rm", *option, "docket/base", "true").returncode == 125
    assert daemon.out("ps", "-aq") == ""


def _docket(daemon: Daemon, *arguments: str) -> str:
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, *arguments]
    return subprocess.run(command, text=True, capture_output=True, timeout=60, check=True).stdout


def _log_of(daemon: Daemon) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, "log", "--json"]
    shown = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True)
    return [json.loads(line) for line in shown.stdout.splitlines()]

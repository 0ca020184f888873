"""``--init`` through the docker CLI."""

from __future__ import annotations

import shutil

import pytest
from docker_daemon import CLIENT_RELEASE, Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


def test_stop_ends_a_command_that_handles_no_signals(daemon: Daemon) -> None:
    """`sleep` below an init dies of the stop signal at once, and leaves its status."""
    daemon.out("run", "-d", "--init", "--name", "signalled", "docket/base", "sleep", "1000")
    daemon.out("stop", "-t", "60", "signalled")
    assert daemon.out("inspect", "-f", "{{.State.ExitCode}} {{.HostConfig.Init}}", "signalled") == "143 true"
    daemon.out("rm", "signalled")


def test_the_init_is_process_1_and_no_file_of_the_root(daemon: Daemon) -> None:
    """It comes from a sealed descriptor: nothing in the container can write to it or take its place (S1)."""
    script = "cat /proc/1/comm; ls /sbin/docker-init; echo x > /proc/1/exe; readlink /proc/1/exe; ls /proc/1/fd"
    done = daemon.docker("run", "--rm", "--init", "docket/base", "sh", "-c", script)
    lines = done.stdout.split()
    assert lines[:2] == ["docker-init", "/memfd:docker-init"]
    assert lines[-3:] == ["0", "1", "2"]
    assert "No such file" in done.stderr
    assert "Text file busy" in done.stderr or "Operation not permitted" in done.stderr


def test_orphans_are_reaped(daemon: Daemon) -> None:
    """A daemonised process that ends leaves no zombie."""
    script = "(sh -c 'sleep 0.05 &' &); sleep 0.3; grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null; echo done"
    assert daemon.out("run", "--rm", "--init", "docket/base", "sh", "-c", script) == "done"


def test_a_terminal_belongs_to_the_command(daemon: Daemon) -> None:
    """The command's process group is the terminal's foreground, so that it gets what the keyboard sends."""
    script = "cut -d ' ' -f 5,8 /proc/$$/stat"
    daemon.out("run", "-d", "-t", "--init", "--name", "terminal", "docket/base", "sh", "-c", script)
    daemon.out("wait", "terminal")
    group, foreground = daemon.out("logs", "terminal").split()
    assert group == foreground != "0"
    daemon.out("rm", "terminal")


@pytest.mark.parametrize(("user", "uid"), [("", "0"), ("1234", "1234")])
def test_confinement_is_the_same_as_without(daemon: Daemon, user: str, uid: str) -> None:
    """The init and its child have the same filter, capabilities and user as a command without an init."""
    look = "id -u; grep -E 'CapBnd|CapEff|CapInh|Seccomp:|NoNewPrivs' /proc/1/status /proc/self/status"
    options = ["--security-opt", "no-new-privileges", *(["-u", user] if user else [])]
    plain = daemon.out("run", "--rm", *options, "docket/base", "sh", "-c", look)
    below = daemon.out("run", "--rm", "--init", *options, "docket/base", "sh", "-c", look)
    assert plain == below
    assert below.splitlines()[0] == uid


def test_a_missing_command_gives_127_and_another_failure_126(daemon: Daemon) -> None:
    """The init does not change what scripts read."""
    directory = 126 if CLIENT_RELEASE >= 25 else 125  # older clients do not know the text
    for command, code in (("nosuch", 127), ("/etc", directory), ("/etc/passwd", 126)):
        assert daemon.docker("run", "--rm", "--init", "docket/base", command).returncode == code


def test_with_the_hosts_processes_there_is_no_first_process_to_be(daemon: Daemon) -> None:
    """As in Docker, `--init` means nothing then, and the command runs all the same."""
    assert daemon.out("run", "--rm", "--init", "--pid", "host", "docket/base", "sh", "-c", "cat /proc/$$/comm; true") == "sh"

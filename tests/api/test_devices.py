"""Devices through the docker CLI on the real kernel: what a container may make, open and be given.

Character device 10:200 is /dev/net/tun, which anybody may open who is let.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from docker_daemon import Daemon

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


def test_a_node_can_be_made_and_not_opened(daemon: Daemon) -> None:
    """MKNOD is one of Docker's capabilities: what keeps a container from the host's disks and memory is the filter."""
    script = (
        "mknod /tmp/tun c 10 200 && mknod /tmp/disk b 8 0 && mknod /tmp/loop b 7 0 && echo made;"
        " for f in /tmp/tun /tmp/disk /tmp/loop; do (exec 3< $f) 2>&1; (exec 3> $f) 2>&1; done;"
        " mknod /tmp/fuse c 10 229; head -c 4 /dev/zero | wc -c; echo x > /dev/null; head -c 1 /dev/urandom | wc -c"
    )
    done = daemon.docker("run", "--rm", "docket/base", "sh", "-c", f"mkdir -p /tmp; {script}")
    lines = done.stdout.splitlines()
    assert lines[0] == "made"
    assert sum("Operation not permitted" in line for line in lines) == 6
    assert [line.strip() for line in lines[-2:]] == ["4", "1"]
    assert "fuse" in done.stderr


def test_an_exec_is_confined_like_the_container(daemon: Daemon) -> None:
    """It joins the same cgroup."""
    made = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    done = daemon.docker("exec", made, "sh", "-c", "mkdir -p /tmp; mknod /tmp/tun c 10 200; exec 3< /tmp/tun")
    assert done.returncode != 0
    assert "Operation not permitted" in done.stderr
    daemon.out("rm", "-f", made)


@pytest.mark.parametrize(("permissions", "reads", "writes"), [("", True, True), (":r", True, False), (":w", False, True)])
def test_a_device_that_was_given_is_used_as_far_as_it_was_given(
    daemon: Daemon, tmp_path: Path, permissions: str, reads: bool, writes: bool
) -> None:
    """`--device HOST[:INSIDE[:rwm]]`: the node is the host's, and reading and writing are apart."""
    node = tmp_path / "given"
    os.mknod(node, 0o20666, os.makedev(10, 200))
    target = f":/dev/given{permissions}" if permissions else ":/dev/given"
    script = "(exec 3< /dev/given) 2>/dev/null && echo reads; (exec 3> /dev/given) 2>/dev/null && echo writes; true"
    shown = daemon.out("run", "--rm", "--device", f"{node}{target}", "docket/base", "sh", "-c", script)
    assert shown.split() == [word for word, wanted in (("reads", reads), ("writes", writes)) if wanted]


def test_a_directory_gives_the_devices_below_it(daemon: Daemon, tmp_path: Path) -> None:
    """As `--device /dev/snd` does; what is no device there is left out."""
    (tmp_path / "bus/one").mkdir(parents=True)
    os.mknod(tmp_path / "bus/one/first", 0o20600, os.makedev(10, 200))
    os.mknod(tmp_path / "bus/second", 0o20600, os.makedev(1, 3))
    (tmp_path / "bus/file").write_text("no device")
    script = "cd /dev/bus; find . -type c; find . -type f; (exec 3< one/first) && echo reads"
    shown = daemon.out("run", "--rm", "--device", f"{tmp_path}/bus:/dev/bus", "docket/base", "sh", "-c", script)
    assert sorted(shown.split()) == ["./one/first", "./second", "reads"]


def test_a_cgroup_rule_allows_a_device_without_a_node(daemon: Daemon) -> None:
    """`--device-cgroup-rule`: the container makes the node itself."""
    use = "(exec 3< /tmp/tun) && echo reads; (exec 3> /tmp/tun) 2>/dev/null && echo writes; true"
    script = f"mkdir -p /tmp; mknod /tmp/tun c 10 200; {use}"
    assert daemon.out("run", "--rm", "--device-cgroup-rule", "c 10:* r", "docket/base", "sh", "-c", script) == "reads"


def test_a_privileged_container_has_the_hosts_devices(daemon: Daemon) -> None:
    """Each node of the host's /dev, with its numbers, and it may use them."""
    hosts = {
        str(path): os.stat(path).st_rdev
        for path in Path("/dev").rglob("*")
        if not path.is_symlink() and (path.is_char_device() or path.is_block_device()) and "pts" not in path.parts
    }
    shown = daemon.out("run", "--rm", "--privileged", "docket/base", "sh", "-c", "find /dev -type c -o -type b")
    assert set(hosts) - {"/dev/console", "/dev/ptmx"} <= set(shown.split())
    script = "mkdir -p /tmp; mknod /tmp/tun c 10 200; (exec 3< /tmp/tun) && echo reads"
    assert daemon.out("run", "--rm", "--privileged", "docket/base", "sh", "-c", script) == "reads"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "/dev/nosuch"], 'adding custom device "/dev/nosuch": no such device'),
        (["--device", "/etc/hostname"], 'adding custom device "/etc/hostname": no such device'),
        (["--device-cgroup-rule", "c 1:3 rwm x"], "c 1:3 rwm x"),
    ],
)
def test_what_is_no_device_is_refused(daemon: Daemon, options: list[str], message: str) -> None:
    """Nothing else is given in its place."""
    done = daemon.docker("run", "--rm", *options, "docket/base", "true")
    assert done.returncode == 125
    assert message in done.stderr

"""What a container can be asked to be, through the docker CLI on the real kernel: users, names, namespaces, limits."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_daemon import Daemon
from hostile_images import import_image

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]

KINDS = [name for name in ("net", "pid", "ipc", "uts", "mnt", "cgroup", "time") if Path(f"/proc/self/ns/{name}").exists()]
PASSWD = b"root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"
GROUP = b"root:x:0:\nwheel:x:10:root\nalice:x:1001:\nstaff:x:50:alice\n"

ROOT, ALICE = ("0", "0", "0 10"), ("1000", "1001", "1001 50")
USERS = [
    ("", ROOT),
    ("alice", ALICE),
    ("1000", ALICE),
    ("1234", ("1234", "0", "0")),
    ("alice:wheel", ("1000", "10", "10")),
    ("alice:77", ("1000", "77", "77")),
    ("1000:staff", ("1000", "50", "50")),
    ("7:8", ("7", "8", "8")),
    ("alice:", ALICE),
    ("1000:", ALICE),
    (":staff", ("0", "50", "50")),
    (":77", ("0", "77", "77")),
    (":", ROOT),
]


@pytest.fixture(scope="module")
def accounts(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with accounts of its own."""
    import_image(
        daemon, "accounts", tmp_path_factory.mktemp("accounts"), {"etc/passwd": PASSWD, "etc/group": GROUP, "dir/": b""}
    )
    return "accounts"


@pytest.mark.parametrize(("user", "ids"), USERS, ids=[user or "none" for user, _ in USERS])
def test_s10_every_form_of_user_gives_the_ids_of_the_image(
    daemon: Daemon, accounts: str, user: str, ids: tuple[str, ...]
) -> None:
    """Through the whole chain, for start and for exec; no group of the host's is there (CVE-2022-36109, CVE-2023-25173)."""
    look = ("sh", "-c", "id -u; id -g; id -G")
    options = ["-u", user] if user else []
    assert daemon.out("run", "--rm", *options, accounts, *look).splitlines() == list(ids)
    made = daemon.out("run", "-d", accounts, "sleep", "1000")
    assert daemon.out("exec", *options, made, *look).splitlines() == list(ids)
    daemon.out("rm", "-f", made)


def test_further_groups_are_added_by_name_and_number(daemon: Daemon, accounts: str) -> None:
    """`--group-add` comes on top of the user's own groups, for exec as well."""
    options = ["-u", "alice", "--group-add", "wheel", "--group-add", "77"]
    assert set(daemon.out("run", "--rm", *options, accounts, "id", "-G").split()) == {"1001", "50", "10", "77"}
    made = daemon.out("run", "-d", *options, accounts, "sleep", "1000")
    assert set(daemon.out("exec", made, "id", "-G").split()) == {"1001", "50", "10", "77"}
    daemon.out("rm", "-f", made)


def test_an_unknown_group_stops_the_start(daemon: Daemon, accounts: str) -> None:
    """The container never runs with fewer groups than asked for."""
    done = daemon.docker("run", "--rm", "--group-add", "nosuch", accounts, "true")
    assert "unable to find group nosuch" in done.stderr.lower()
    assert done.returncode == 125


def test_names_of_the_container(daemon: Daemon) -> None:
    """Host and domain name are its own, in the files too; without one the short id is the name."""
    look = "hostname; cat /proc/sys/kernel/domainname /etc/hostname"
    shown = daemon.out("run", "--rm", "--hostname", "box", "--domainname", "example", "docket/base", "sh", "-c", look)
    assert shown.split() == ["box", "example", "box"]
    made = daemon.out("create", "docket/base", "hostname")
    assert daemon.out("start", "-a", made) == made[:12]
    daemon.out("rm", made)


def test_a_read_only_root_with_writable_places(daemon: Daemon) -> None:
    """Only the tmpfs is writable, with the size, mode and flags that were asked for."""
    options = ["--read-only", "--tmpfs", "/t:size=64k,mode=700", "--tmpfs", "/x:exec"]
    fill = "dd if=/dev/zero of=/t/big bs=1k count=100 2>/dev/null || echo full"
    script = f"touch /a; {fill}; stat -c %a /t; grep -E ' /[tx] ' /proc/mounts"
    done = daemon.docker("run", "--rm", *options, "docket/base", "sh", "-c", script)
    lines = done.stdout.splitlines()
    assert done.stderr.count("Read-only file system") == 1
    assert lines[:2] == ["full", "700"]
    flags = {line.split()[1]: set(line.split()[3].split(",")) for line in lines[2:]}
    assert {"nosuid", "nodev", "noexec", "size=64k"} <= flags["/t"]
    assert "noexec" not in flags["/x"]


def test_shared_memory_has_the_size_that_was_asked_for(daemon: Daemon) -> None:
    """64 MB without, and the right one with `--shm-size`."""
    look = ("sh", "-c", "grep ' /dev/shm ' /proc/mounts")
    assert "size=65536k" in daemon.out("run", "--rm", "docket/base", *look)
    assert "size=1024k" in daemon.out("run", "--rm", "--shm-size", "1m", "docket/base", *look)
    assert (
        daemon.out("run", "--rm", "--ipc", "none", "docket/base", "sh", "-c", "grep -c ' /dev/shm ' /proc/mounts || true")
        == "0"
    )


def test_sysctls_are_the_containers_own(daemon: Daemon) -> None:
    """A network and an IPC sysctl; the host's stay as they are."""
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text(), Path("/proc/sys/kernel/msgmax").read_text()
    options = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4321"]
    look = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert daemon.out("run", "--rm", *options, "docket/base", "sh", "-c", look).split() == ["1", "4321", "0"]
    assert (Path("/proc/sys/net/ipv4/ip_forward").read_text(), Path("/proc/sys/kernel/msgmax").read_text()) == before


def test_resource_limits_of_processes(daemon: Daemon) -> None:
    """`--ulimit` for start and exec."""
    options = ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "nproc=1000"]
    made = daemon.out("run", "-d", *options, "docket/base", "sleep", "1000")
    look = ("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c")
    assert daemon.out("exec", made, *look).split() == ["100", "200", "0"]
    assert daemon.out("inspect", "-f", "{{len .HostConfig.Ulimits}}", made) == "3"
    daemon.out("rm", "-f", made)


@pytest.fixture(scope="module")
def lender(daemon: Daemon) -> Iterator[str]:
    """A running container whose namespaces others join."""
    made = daemon.out("run", "-d", "--ipc", "shareable", "docket/base", "sleep", "1000")
    yield made
    daemon.out("rm", "-f", made)


@pytest.mark.parametrize(("option", "kind"), [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc")])
def test_another_containers_namespace_is_joined_and_no_other_one(daemon: Daemon, lender: str, option: str, kind: str) -> None:
    """Its own are private all the same; the host's are never there."""
    look = ("sh", "-c", f"for n in {' '.join(KINDS)}; do readlink /proc/self/ns/$n; done")
    theirs = daemon.out("exec", lender, *look).split()
    mine = daemon.out("run", "--rm", option, f"container:{lender}", "docket/base", *look).split()
    same = {one.partition(":")[0] for one, other in zip(theirs, mine, strict=True) if one == other}
    assert same == {kind}


@pytest.mark.parametrize(("option", "kind"), [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts")])
def test_the_hosts_namespace_is_joined_only_when_it_is_asked_for(daemon: Daemon, option: str, kind: str) -> None:
    """`host` lends exactly one namespace; without it none is the host's."""
    look = ("sh", "-c", f"for n in {' '.join(KINDS)}; do readlink /proc/self/ns/$n; done")
    hosts = {str(Path(f"/proc/self/ns/{name}").readlink()) for name in KINDS}
    alone = set(daemon.out("run", "--rm", "docket/base", *look).split())
    joined = set(daemon.out("run", "--rm", option, "host", "docket/base", *look).split())
    assert not alone & hosts
    assert {name.partition(":")[0] for name in joined & hosts} == {kind}


def test_shared_memory_is_shared_with_the_namespace(daemon: Daemon, lender: str) -> None:
    """/dev/shm belongs to the IPC namespace in everybody's mind: what one writes, the other reads."""
    daemon.out("exec", lender, "sh", "-c", "echo theirs > /dev/shm/mark")
    assert daemon.out("run", "--rm", "--ipc", f"container:{lender}", "docket/base", "cat", "/dev/shm/mark") == "theirs"


def test_a_private_ipc_namespace_is_not_lent(daemon: Daemon) -> None:
    """Only a container that was made shareable lends it, as with Docker."""
    made = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    done = daemon.docker("run", "--rm", "--ipc", f"container:{made}", "docket/base", "true")
    assert "non-shareable IPC" in done.stderr
    daemon.out("rm", "-f", made)


def test_a_stopped_container_lends_nothing(daemon: Daemon) -> None:
    """Docker's sentence, and no start in another namespace instead."""
    made = daemon.out("create", "docket/base", "true")
    done = daemon.docker("run", "--rm", "--pid", f"container:{made}", "docket/base", "true")
    assert done.returncode == 125
    assert f"cannot join pid of a non running container: {made}" in done.stderr.lower()
    daemon.out("rm", made)


def test_processes_of_a_lender_are_seen_and_can_be_signalled(daemon: Daemon, lender: str) -> None:
    """`--pid container:` is for looking into another container."""
    shown = daemon.out(
        "run", "--rm", "--pid", f"container:{lender}", "docket/base", "sh", "-c", "cat /proc/1/comm; kill -0 1 && echo ok"
    )
    assert shown.split() == ["sleep", "ok"]


def test_no_out_of_memory_is_told_where_there_was_none(daemon: Daemon) -> None:
    """Death by SIGKILL is not death for memory."""
    made = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    daemon.out("kill", made)
    daemon.out("wait", made)
    assert daemon.out("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", made) == "false 137"
    daemon.out("rm", made)


def test_no_output_is_lost_between_attaching_and_starting(daemon: Daemon) -> None:
    """A client that is answered is attached for the start that follows, though its stream is handed over later.

    Until the client has read the header its stream stays with the server; `docker run` starts the container meanwhile.
    """
    made = daemon.out("create", "docket/base", "echo", "through")
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(f"{daemon.root}/docket.sock")
    client.sendall(
        f"POST /v1.47/containers/{made}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\n"
        "Upgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert client.recv(1, socket.MSG_PEEK) == b"H"
    assert daemon.request("POST", f"/containers/{made}/start")[0] == 204
    received = b""
    while data := client.recv(4096):
        received += data
    client.close()
    assert received.endswith(b"\x01\0\0\0\0\0\0\x08through\n")
    daemon.out("rm", made)

"""`docket daemon --userns-remap` through the docker CLI on the real kernel: who containers are on the host, and what they reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_daemon import DAEMON, Daemon
from hostile_images import import_image

from docket.kernel.linux.id_mapping import why_not_mapped

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]

FIRST = 231_072
HOLD = """
echo dockremap:231072:65536 > "$0"
mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon in a mount namespace of its own, where a user dockremap has subordinate ids."""
    root = tmp_path_factory.mktemp("docket")
    if reason := why_not_mapped(str(root)):
        pytest.skip(f"needs id-mapped mounts: {reason}")
    before = ("unshare", "--mount", "sh", "-c", HOLD, f"{root}/ids")
    running = Daemon(root, *before, options=("--userns-remap", "default"))
    yield running
    for container in running.out("ps", "-aq").split():
        running.docker("rm", "-f", container)
    running.stop()
    assert not os.listdir(root / "exec" / "containers")


@pytest.fixture
def sleeper(daemon: Daemon) -> Iterator[str]:
    """A running container."""
    made = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    yield made
    daemon.out("rm", "-f", made)


def run(daemon: Daemon, *arguments: str) -> str:
    return daemon.out("run", "--rm", *arguments)


def test_root_is_nobody_on_the_host(daemon: Daemon, sleeper: str) -> None:
    """0 inside, the first subordinate id outside, for the first process and for an exec; `info` tells."""
    pid = daemon.out("inspect", "-f", "{{.State.Pid}}", sleeper)
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"Uid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}" in status
    assert f"Gid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}" in status
    look = ("sh", "-c", "id -u; id -G; cat /proc/self/uid_map")
    for seen in (run(daemon, "docket/base", *look), daemon.out("exec", sleeper, *look)):
        assert seen.split() == ["0", "0", "0", str(FIRST), "65536"]
    assert "name=userns" in daemon.out("info", "-f", "{{json .SecurityOptions}}")
    assert f"{FIRST} " in daemon.out("top", sleeper)


def test_s58_the_event_of_a_start_tells_of_the_namespace(daemon: Daemon, sleeper: str) -> None:
    """What is written down as in force is what /proc says."""
    command = [sys.executable, "-c", DAEMON, "-H", daemon.host, "log", "--type", "ContainerStarted", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    events = [json.loads(line) for line in told.splitlines()]
    data = next(each["data"] for each in events if each["stream"] == f"container-{sleeper}")
    assert data["user_namespace"] is True
    inside = Path(f"/proc/{data['pid']}/uid_map").read_text().split()
    assert inside == ["0", str(FIRST), "65536"]


def test_files_keep_their_owners_on_disk(daemon: Daemon, tmp_path: Path) -> None:
    """Image and writable layer are not shifted: the layers serve containers with and without a user namespace."""
    import_image(daemon, "owned", tmp_path, {"dir/": b"", "file": b"text"})
    made = daemon.out(
        "create", "owned", "sh", "-c", "ls -ln /file; chown 7:8 /file; echo more >> /file; touch /new; ls -ln /new"
    )
    lines = [line.split()[2:4] for line in daemon.out("start", "-a", made).splitlines()]
    assert lines == [["0", "0"], ["0", "0"]]
    upper = Path(daemon.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", made))
    assert [(upper / name).stat().st_uid for name in ("file", "new")] == [7, 0]
    shared = run(daemon, "--userns", "host", "owned", "ls", "-ln", "/file")
    assert shared.split()[2:4] == ["0", "0"]
    daemon.out("rm", made)


def test_a_bind_mount_keeps_the_hosts_owners(daemon: Daemon, tmp_path: Path) -> None:
    """What the host's root owns is readable and not writable; what `-v` makes belongs to the container's root."""
    private = tmp_path / "private" / "data"
    private.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    (private / "file").write_text("of the host\n")
    script = "cat /data/file; ls -ln /data/file; touch /data/x; touch /made/x; ls -ldn /made"
    options = ["-v", f"{private}:/data", "-v", f"{tmp_path}/made/here:/made"]
    done = daemon.docker("run", "--rm", *options, "docket/base", "sh", "-c", script)
    text, shown, made = done.stdout.splitlines()
    assert (text, shown.split()[2:4], made.split()[2:4]) == ("of the host", ["65534", "65534"], ["0", "0"])
    assert "touch: /data/x: Permission denied" in done.stderr
    assert (tmp_path / "made" / "here").stat().st_uid == (tmp_path / "made" / "here" / "x").stat().st_uid == FIRST


def test_the_kernels_filesystems_and_devices_are_there(daemon: Daemon) -> None:
    """proc, sysfs, devpts with group 5, mqueue, shm, cgroup: as without a user namespace; nodes work, none can be made."""
    script = (
        'for f in proc sysfs devpts mqueue tmpfs cgroup2; do grep -q " $f " /proc/mounts && echo $f; done;'
        " head -c 2 /dev/zero | wc -c; echo x > /dev/null; mknod /tmp/n c 1 3; touch /dev/shm/x && echo shm;"
        " cat /sys/firmware/x /proc/keys; echo y > /proc/sys/kernel/domainname; echo /etc/hosts >> /etc/hosts && echo hosts"
    )
    done = daemon.docker("run", "--rm", "docket/base", "sh", "-c", script)
    assert done.stdout.split() == ["proc", "sysfs", "devpts", "mqueue", "tmpfs", "cgroup2", "2", "shm", "hosts"]
    assert "mknod: /tmp/n: Operation not permitted" in done.stderr
    assert "Read-only file system" in done.stderr


def test_a_terminal_belongs_to_its_user(daemon: Daemon, sleeper: str) -> None:
    """Of a container and of an exec in it; the console as well."""
    seen = run(daemon, "-t", "docket/base", "sh", "-c", "ls -ln $(tty) /dev/console; echo through > /dev/tty")
    assert [line.split()[2:4] for line in seen.splitlines()[:2]] == [["0", "5"], ["0", "5"]]
    assert seen.splitlines()[2] == "through"
    assert daemon.out("exec", "-t", sleeper, "sh", "-c", "ls -ln $(tty)").split()[2:4] == ["0", "5"]


def test_another_user_writes_to_the_standard_streams_by_name(daemon: Daemon) -> None:
    """Pipes belong to the user that runs: programs that log to /dev/stdout open it."""
    for namespace in ([], ["--userns", "host"]):
        assert run(daemon, *namespace, "-u", "1000", "docket/base", "sh", "-c", "echo hi > /dev/stdout") == "hi"


def test_settings_that_need_rights_of_the_host(daemon: Daemon) -> None:
    """Limits, oom_score_adj, host name, sysctls and the low ports are set as without a user namespace."""
    options = ["--ulimit", "nofile=99:111", "--oom-score-adj", "300", "--sysctl", "net.ipv4.ip_forward=1", "-h", "box"]
    script = (
        "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward"
        " /proc/sys/net/ipv4/ip_unprivileged_port_start; hostname; ping -c 1 127.0.0.1 > /dev/null && echo ping"
    )
    seen = run(daemon, *options, "docket/base", "sh", "-c", script)
    assert seen.split() == ["99", "111", "300", "1", "0", "box", "ping"]


def test_the_right_to_mount_reaches_nothing_of_the_host(daemon: Daemon) -> None:
    """SYS_ADMIN is the right of its own namespace: it mounts a tmpfs, and neither a disk nor the host's sysctls."""
    script = "mount -t tmpfs x /mnt && echo mounted; mknod /tmp/d b 254 0; echo 1 > /proc/sys/vm/swappiness"
    options = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"]
    done = daemon.docker("run", "--rm", *options, "docket/base", "sh", "-c", script)
    assert done.stdout.split() == ["mounted"]
    assert done.stderr.count("mknod") == 1
    assert "swappiness: Permission denied" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--privileged"], "privileged mode is incompatible with user namespaces.  You must run the container in the host"),
        (["--net", "host"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid", "host"], "cannot share PID namespace when user namespaces are enabled"),
        (["--net", "container:{sleeper}", "--pid", "container:x"], "cannot join namespaces of several containers when user"),
        (["-v", "/tmp:/t:rshared"], "propagation rshared is not possible with a user namespace"),
        (["-u", "70000"], "setresuid: Invalid argument"),
    ],
)
def test_what_does_not_go_together_is_refused(daemon: Daemon, sleeper: str, options: list[str], message: str) -> None:
    """In Docker's words where it has some."""
    done = daemon.docker("run", "--rm", *(option.format(sleeper=sleeper) for option in options), "docket/base", "true")
    assert done.returncode == 125
    assert message in done.stderr


JOINED = (
    ("--network", "container:{lender}"),
    ("--pid", "container:{lender}"),
    ("--ipc", "container:{lender}"),
    ("--network", "container:{lender}", "--pid", "container:{lender}", "--ipc", "container:{lender}"),
)


@pytest.fixture(scope="module")
def lender(daemon: Daemon) -> Iterator[str]:
    """A container whose namespaces others join."""
    made = daemon.out("run", "-d", "--ipc", "shareable", "docket/base", "sh", "-c", "echo lent > /dev/shm/note; sleep 1000")
    yield made
    daemon.out("rm", "-f", made)


@pytest.mark.parametrize("options", JOINED)
def test_containers_share_namespaces_and_users(daemon: Daemon, lender: str, options: tuple[str, ...]) -> None:
    """The namespaces belong to the lender's users, so those are shared too: confined as ever, and an exec as well."""
    given = [option.format(lender=lender) for option in options]
    made = daemon.out("run", "-d", *given, "--ulimit", "nofile=99:100", "docket/base", "sleep", "1000")
    try:
        pids = [daemon.out("inspect", "-f", "{{.State.Pid}}", each) for each in (lender, made)]
        shared = {"user", *(option.removeprefix("--").replace("network", "net") for option in options[::2])}
        for kind in ("user", "net", "pid", "ipc", "mnt", "uts", "cgroup"):
            links = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}
            assert len(links) == (1 if kind in shared else 2), kind
        status = Path(f"/proc/{pids[1]}/status").read_text()
        assert f"Uid:\t{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}" in status
        assert "CapBnd:\t00000000a80425fb" in status
        assert "Seccomp:\t2" in status
        assert "99                   100" in Path(f"/proc/{pids[1]}/limits").read_text()
        look = "id -u; cat /proc/self/uid_map; ls /proc | grep -c '^[0-9]'; touch /made && stat -c %u /made; ulimit -n"
        seen = daemon.out("exec", made, "sh", "-c", look).split()
        assert (seen[0], seen[1:4], seen[-2:]) == ("0", ["0", str(FIRST), "65536"], ["0", "99"])
        upper = daemon.root / "data" / "containers" / made / "upper" / "made"
        assert upper.stat().st_uid == 0
    finally:
        daemon.out("rm", "-f", made)


def test_what_is_lent_is_seen(daemon: Daemon, lender: str) -> None:
    """Processes, shared memory, and the network's links; the borrower's own files are its own."""
    who = f"container:{lender}"
    assert "sleep 1000" in run(daemon, "--pid", who, "docket/base", "ps")
    assert run(daemon, "--ipc", who, "docket/base", "cat", "/dev/shm/note") == "lent"
    network = ("readlink", "/proc/self/ns/net")
    assert run(daemon, "--network", who, "docket/base", *network) == daemon.out("exec", lender, *network)
    run(daemon, "--pid", who, "docket/base", "sh", "-c", "cat /proc/1/root/dev/shm/note; kill -0 1")


def test_a_borrower_can_be_lent_from_and_outlives_nobody(daemon: Daemon, lender: str) -> None:
    """A third one joins through the second; a terminal works; and a lender of other users is refused."""
    second = daemon.out("run", "-d", "--network", f"container:{lender}", "docket/base", "sleep", "1000")
    third = run(daemon, "-t", "--network", f"container:{second}", "docket/base", "readlink", "/proc/self/ns/net")
    assert third.strip() == daemon.out("exec", lender, "readlink", "/proc/self/ns/net")
    daemon.out("rm", "-f", second)
    other = daemon.out("run", "-d", "--userns", "host", "docket/base", "sleep", "1000")
    done = daemon.docker("run", "--rm", "--network", f"container:{other}", "docket/base", "true")
    assert "its users are others on the host" in done.stderr
    daemon.out("rm", "-f", other)


@pytest.mark.parametrize("options", [["--privileged"], ["--net", "host"], ["--pid", "host"]])
def test_a_container_opts_out(daemon: Daemon, options: list[str]) -> None:
    """`--userns host` is a container as without the remapping; inspect shows it."""
    assert run(daemon, "--userns", "host", *options, "docket/base", "cat", "/proc/self/uid_map").split()[1] == "0"
    made = daemon.out("create", "--userns", "host", *options, "docket/base", "true")
    assert daemon.out("inspect", "-f", "{{.HostConfig.UsernsMode}}", made) == "host"
    daemon.out("rm", made)


def test_an_old_container_stays_what_it_was(daemon: Daemon, sleeper: str) -> None:
    """A daemon without the option starts it in its user namespace all the same, and a new one without (S58)."""
    daemon.stop()
    options, daemon._options = daemon._options, ()
    daemon.start()
    try:
        daemon.out("restart", "-t", "0", sleeper)
        assert daemon.out("exec", sleeper, "cat", "/proc/self/uid_map").split()[1] == str(FIRST)
        assert run(daemon, "docket/base", "cat", "/proc/self/uid_map").split()[1] == "0"
        assert "userns" not in daemon.out("info", "-f", "{{json .SecurityOptions}}")
    finally:
        daemon.stop()
        daemon._options = options
        daemon.start()


def test_a_filesystem_without_id_mapping_is_refused_with_the_reason(tmp_path: Path) -> None:
    """At the start of the daemon, and not at that of each container."""
    (tmp_path / "ids").write_text("dockremap:231072:65536\n")
    data = tmp_path / "data"
    data.mkdir()
    # A ramfs cannot be mounted with other ids.
    script = f"mount -t ramfs none {data} && {HOLD}"
    command = ["unshare", "--mount", "sh", "-c", script, f"{tmp_path}/ids"]
    daemon = ["-c", DAEMON, "daemon", "--data-root", str(data), "--exec-root", str(tmp_path / "exec"), "-H"]
    done = subprocess.run(
        [*command, sys.executable, *daemon, f"unix://{tmp_path}/s.sock", "--userns-remap", "default"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"userns-remap: {data} cannot have other ids" in done.stderr


def test_files_of_a_container_have_the_images_owners(daemon: Daemon) -> None:
    """What is looked at, copied out and committed belongs to whom it belongs inside; a running one is not copied into."""
    name = daemon.out("run", "-d", "docket/base", "sh", "-c", "echo x > /f; chown 5:6 /f; echo ready; sleep 1000")
    while "ready" not in daemon.out("logs", name):
        pass
    archive = daemon.docker("cp", f"{name}:/f", "-").stdout
    assert (int(archive[108:115], 8), int(archive[116:123], 8)) == (5, 6)
    assert daemon.out("diff", name) == "A /f"
    status, answer = daemon.request("PUT", f"/containers/{name}/archive?path=/")
    assert (status, "mapped ids" in answer["message"]) == (501, True)
    daemon.out("commit", name, "mapped:1")
    assert daemon.out("run", "--rm", "mapped:1", "stat", "-c", "%u:%g", "/f") == "5:6"
    daemon.out("rm", "-f", name)
    daemon.out("rmi", "mapped:1")

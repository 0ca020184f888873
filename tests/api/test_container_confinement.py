"""How a container is confined, and what lifts it, through the docker CLI on the real kernel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from docker_daemon import Daemon, needs_client

from docket.domain.confinement.masks import MASKED_PATHS, READONLY_PATHS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


def run(daemon: Daemon, *arguments: str) -> str:
    return daemon.out("run", "--rm", *arguments)


def read_only(daemon: Daemon, *options: str) -> list[str]:
    """The read-only mounts below /proc and /sys."""
    table = run(daemon, *options, "docket/base", "cat", "/proc/mounts")
    fields = [line.split() for line in table.splitlines()]
    return sorted(each[1] for each in fields if each[1].startswith(("/proc/", "/sys")) and "ro" in each[3].split(","))


def test_a_privileged_container_is_not_confined(daemon: Daemon) -> None:
    """All capabilities of the engine, no filter, no masks, /sys and cgroups writable, the host's devices; the event says so."""
    script = (
        "grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/self/status; mount -t tmpfs x /mnt && echo mounted; ls /dev | wc -l"
    )
    lines = run(daemon, "--privileged", "docket/base", "sh", "-c", script).splitlines()
    bounding = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")).split()[1]
    assert [line.split()[1] for line in lines[:4]] == [bounding, bounding, "0", "0"]
    assert lines[4] == "mounted"
    assert int(lines[5]) > 15
    assert read_only(daemon, "--privileged") == []


def test_without_a_privilege_proc_and_sys_are_closed(daemon: Daemon) -> None:
    """Docker's read-only paths, and its masks where the kernel has what they hide; lifted by `systempaths=unconfined` alone."""
    closed = read_only(daemon)
    there = [path for path in READONLY_PATHS if Path(path).exists()]
    masked = [path for path in MASKED_PATHS if Path(path).is_dir()]
    assert set(there) | set(masked) | {"/sys"} <= set(closed)
    keys = ("docket/base", "sh", "-c", "wc -c < /proc/timer_list; wc -c < /proc/interrupts")
    assert run(daemon, *keys).split() == ["0", "0"]
    lifted = read_only(daemon, "--security-opt", "systempaths=unconfined")
    assert not set(lifted) & {*there, *masked}
    assert "/sys" in lifted
    assert run(daemon, "--security-opt", "systempaths=unconfined", *keys).split()[1] != "0"


def test_a_seccomp_profile_from_a_file(daemon: Daemon, tmp_path: Path) -> None:
    """Instead of Docker's; it is shown by inspect, and `unconfined` is none at all."""
    profile = tmp_path / "profile.json"
    call = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [call]}))
    done = daemon.docker("run", "--rm", "--security-opt", f"seccomp={profile}", "docket/base", "mkdir", "/x")
    assert "No space left on device" in done.stderr
    made = daemon.out("create", "--security-opt", f"seccomp={profile}", "docket/base", "true")
    [told] = json.loads(daemon.out("inspect", "-f", "{{json .HostConfig.SecurityOpt}}", made))
    assert json.loads(told.removeprefix("seccomp="))["defaultAction"] == "SCMP_ACT_ALLOW"
    daemon.out("rm", made)
    look = ("docket/base", "grep", "Seccomp:", "/proc/self/status")
    assert run(daemon, *look).split() == ["Seccomp:", "2"]
    assert run(daemon, "--security-opt", "seccomp=unconfined", *look).split() == ["Seccomp:", "0"]


def test_a_profile_that_is_none_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """A container never starts without the filter that was asked for."""
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_NONSENSE"}')
    done = daemon.docker("run", "--rm", "--security-opt", f"seccomp={profile}", "docket/base", "true")
    assert done.returncode == 125
    assert "SCMP_ACT_NONSENSE" in done.stderr


def test_no_new_privileges(daemon: Daemon) -> None:
    """A set-user-id program gains nothing; an exec neither."""
    look = ("docket/base", "grep", "NoNewPrivs", "/proc/self/status")
    assert run(daemon, "--security-opt", "no-new-privileges", *look).split()[1] == "1"
    assert run(daemon, "--security-opt", "no-new-privileges=false", *look).split()[1] == "0"
    made = daemon.out("run", "-d", "--security-opt", "no-new-privileges:true", "docket/base", "sleep", "1000")
    assert daemon.out("exec", made, *look[1:]).split()[1] == "1"
    daemon.out("rm", "-f", made)


def test_a_privileged_exec_has_every_capability(daemon: Daemon) -> None:
    """And nothing else that its container has not: the filter stays."""
    made = daemon.out("run", "-d", "docket/base", "sleep", "1000")
    bounding = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")).split()[1]
    for options, mask in ((["--privileged"], bounding), ([], "00000000a80425fb")):
        seen = daemon.out("exec", *options, made, "grep", "-E", "CapEff|CapBnd|Seccomp:", "/proc/self/status")
        assert [line.split()[1] for line in seen.splitlines()] == [mask, mask, "2"]
    daemon.out("rm", "-f", made)


def test_the_cgroup_namespace(daemon: Daemon) -> None:
    """Private by default: the container sees itself as the root. The host's shows the whole path; neither is writable."""
    look = ("docket/base", "sh", "-c", "grep ^0: /proc/self/cgroup; echo 0 > /sys/fs/cgroup/cgroup.procs")
    for options, ends in (([], "0::/"), (["--cgroupns", "private"], "0::/"), (["--cgroupns", "host"], "/docket/")):
        done = daemon.docker("run", "--rm", *options, *look)
        assert (ends in done.stdout) if ends != "0::/" else (done.stdout.strip() == ends)
        assert "Read-only file system" in done.stderr
    made = daemon.out("create", "--cgroupns", "host", "docket/base", "true")
    assert daemon.out("inspect", "-f", "{{.HostConfig.CgroupnsMode}}", made) == "host"
    daemon.out("rm", made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--sysctl", "net.ipv4.ip_forward=1", "--net", "host"],
            'sysctl "net.ipv4.ip_forward" not allowed in host network namespace',
        ),
        (["--sysctl", "kernel.shmmax=1", "--ipc", "host"], 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'),
        (["--sysctl", "fs.mqueue.msg_max=1", "--ipc", "host"], 'sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc'),
        (["--security-opt", "label=type:svirt_t"], "SELinux labels are not supported; label=disable is accepted"),
        (["--security-opt", "nonsense=1"], 'invalid --security-opt 2: "nonsense=1"'),
        (["--cap-add", "NONSENSE"], 'invalid CapAdd: unknown capability: "CAP_NONSENSE"'),
    ],
)
def test_what_cannot_be_is_refused(daemon: Daemon, options: list[str], message: str) -> None:
    """In Docker's words where it has some; nothing is dropped silently."""
    done = daemon.docker("run", "--rm", *options, "docket/base", "true")
    assert done.returncode == 125
    assert message in done.stderr


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Sysctls": {"kernel.domainname": "x"}, "UTSMode": "host"}, 'sysctl "kernel.domainname" is not in a separate kernel'),
        (
            {"Sysctls": {"kernel.hostname": "x"}},
            'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field',
        ),
        ({"Sysctls": {"vm.swappiness": "1"}}, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
        ({"Sysctls": {"kernel.panic": "1"}, "Privileged": True}, 'sysctl "kernel.panic" is not in a separate kernel namespace'),
        ({"DeviceCgroupRules": ["x 1:1 r"]}, "invalid device cgroup rule format: 'x 1:1 r'"),
        ({"CgroupnsMode": "nonsense"}, "invalid cgroup namespace mode: nonsense"),
        ({"UsernsMode": "keep-id"}, "invalid user namespace mode: keep-id"),
        ({"CgroupParent": "../x"}, "invalid cgroup-parent ../x"),
    ],
)
def test_what_the_client_refuses_the_engine_refuses_too(daemon: Daemon, host: dict[str, object], message: str) -> None:
    """There are other clients."""
    body = {"Image": "docket/base", "Cmd": ["true"], "HostConfig": host}
    status, answer = daemon.request("POST", "/containers/create", body)
    assert status == 400
    assert message in answer["message"]


def test_an_apparmor_profile_is_applied_or_refused(daemon: Daemon) -> None:
    """`unconfined` goes everywhere; a named profile only where there is AppArmor, and then only when it is loaded."""
    assert run(daemon, "--security-opt", "apparmor=unconfined", "docket/base", "echo", "ran") == "ran"
    done = daemon.docker("run", "--rm", "--security-opt", "apparmor=docket-none", "docket/base", "true")
    assert done.returncode == 125
    on = Path("/sys/module/apparmor/parameters/enabled")
    if on.exists() and on.read_text().startswith("Y"):
        assert "set AppArmor profile docket-none" in done.stderr
    else:
        assert "apparmor=docket-none" in done.stderr
        assert "this host has no AppArmor" in done.stderr


@needs_client(23, "writable-cgroups and other new options are passed on")
def test_an_option_with_one_possible_value(daemon: Daemon) -> None:
    """What stands for the engine's only behaviour is accepted."""
    assert run(daemon, "--security-opt", "label=disable", "docket/base", "echo", "ran") == "ran"

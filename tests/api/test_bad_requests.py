"""Bad input through the API: each is a clear sentence with Docker's status, and nothing is half done."""

from __future__ import annotations

from typing import Any

import pytest
from docker_daemon import Daemon

pytestmark = pytest.mark.root

Body = dict[str, Any]


def host(**options: object) -> Body:
    return {"HostConfig": options}


def bind(**options: object) -> Body:
    return host(Mounts=[{"Type": "bind", "Target": "/t", "Source": "/tmp", **options}])


CREATES: list[tuple[Body, int, str]] = [
    # Text and types.
    ({"Image": "docket/base", "Cmd": ["a\0b"]}, 400, "Cmd must not contain a NUL character"),
    ({"User": 7}, 400, "User must be a string"),
    ({"Cmd": {"a": 1}}, 400, "Cmd must be a string or a list of strings"),
    ({"Cmd": [1]}, 400, "Cmd must be a string"),
    ({"Env": "A=b"}, 400, "Env must be a list of strings"),
    ({"Tty": "yes"}, 400, "Tty must be true or false"),
    ({"Labels": ["a"]}, 400, "Labels must be an object"),
    ({"Labels": {"a": 1}}, 400, "Labels must be a string"),
    ({"StopTimeout": "1s"}, 400, "StopTimeout must be an integer"),
    ({"HostConfig": []}, 400, "HostConfig must be an object"),
    (host(Memory="1g"), 400, "Memory must be an integer"),
    (host(Memory=1 << 64), 400, f"Memory is out of range: {1 << 64}"),
    (host(Devices=["/dev/null"]), 400, "Devices must be a list of objects"),
    (host(Ulimits=[{"Name": "nofile", "Soft": "1"}]), 400, "Soft must be an integer"),
    # Names.
    ({"Env": ["=x"]}, 400, "invalid environment variable: =x"),
    ({"Env": [""]}, 400, "invalid environment variable: "),
    ({"Hostname": "x" * 65}, 400, f"invalid hostname: {'x' * 60}: at most 64 bytes of printable text"),
    ({"WorkingDir": "relative"}, 400, "the working directory 'relative' is invalid, it needs to be an absolute path"),
    ({"StopSignal": "SIGNONSENSE"}, 400, "invalid signal: SIGNONSENSE"),
    ({"StopSignal": "0"}, 400, "invalid signal: 0"),
    (host(ExtraHosts=["nowhere"]), 400, "invalid extra host: nowhere: name:address is expected"),
    # Images.
    ({"Image": "docket/nosuch"}, 404, "No such image: docket/nosuch:latest"),
    ({"Image": "docket/Base"}, 400, "invalid reference format: repository name (docket/Base) must be lowercase"),
    ({"Image": ""}, 400, "invalid reference format"),
    ({"Image": "a" * 64}, 404, f"No such image: {'a' * 64}"),
    # Modes.
    (host(PidMode="nonsense"), 400, "invalid PID mode: nonsense"),
    (host(PidMode="container:"), 400, "invalid PID mode: container:"),
    (host(IpcMode="nonsense"), 400, "invalid IPC mode: nonsense"),
    (host(UTSMode="container:x"), 400, "invalid UTS mode: container:x"),
    (host(CgroupnsMode="nonsense"), 400, "invalid cgroup namespace mode: nonsense"),
    (host(UsernsMode="nonsense"), 400, "invalid user namespace mode: nonsense"),
    (host(NetworkMode="nonsense"), 501, "network nonsense is not supported yet: only none, host and container:ID"),
    ({"Hostname": "x", **host(UTSMode="host")}, 400, "conflicting options: hostname and the UTS mode"),
    ({"Hostname": "x", **host(NetworkMode="container:y")}, 400, "conflicting options: hostname and the network mode"),
    (host(NetworkMode="container:y", Dns=["1.1.1.1"]), 400, "conflicting options: dns and the network mode"),
    # Mounts.
    (host(Binds=["nonsense"]), 400, "invalid volume specification: 'nonsense'"),
    (host(Binds=["/a:/b:/c:/d"]), 400, "invalid volume specification: '/a:/b:/c:/d'"),
    (host(Binds=[""]), 400, "invalid empty volume spec"),
    (host(Binds=["/a:/b:nonsense"]), 400, "invalid mode: nonsense"),
    (host(Binds=["/a:/b:ro,rw"]), 400, "invalid mode: ro,rw"),
    (
        host(Binds=["/a:b"]),
        400,
        "invalid volume specification: '/a:b': "
        "invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
    ),
    (
        host(Binds=["/a:/"]),
        400,
        "invalid volume specification: '/a:/': "
        "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
    ),
    (host(Binds=["/tmp:/t", "/etc:/t/"]), 400, "Duplicate mount point: /t"),
    (host(Binds=["/tmp:/proc/sys"]), 400, '"/proc/sys" cannot be mounted because it is inside /proc'),
    (host(Tmpfs={"/proc/x/../y": ""}), 400, '"/proc/y" cannot be mounted because it is inside /proc'),
    (host(Tmpfs={"/t": "nonsense"}), 400, 'invalid tmpfs option "nonsense"'),
    (
        host(Tmpfs={"t": ""}),
        400,
        "invalid mount config for type \"tmpfs\": invalid mount path: 't' mount path must be absolute",
    ),
    (bind(Source=""), 400, 'invalid mount config for type "bind": field Source must not be empty'),
    (bind(Target=""), 400, 'invalid mount config for type "bind": field Target must not be empty'),
    (bind(Source="/nosuch"), 400, 'invalid mount config for type "bind": bind source path does not exist: /nosuch'),
    (bind(Source="x"), 400, "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute"),
    (bind(Type="nonsense"), 400, 'invalid mount config for type "nonsense": mount type unknown: "nonsense"'),
    (bind(Type="tmpfs"), 400, 'invalid mount config for type "tmpfs": field Source must not be specified'),
    (
        bind(BindOptions={"Propagation": "nonsense"}),
        400,
        'invalid mount config for type "bind": invalid propagation mode: nonsense',
    ),
    (
        bind(BindOptions={"ReadOnlyNonRecursive": True}),
        400,
        'invalid mount config for type "bind": mount must be set to readonly for its read-only options to apply',
    ),
    (
        host(Binds=["/tmp:/t:rshared", "/etc:/t/etc"]),
        501,
        "mount /t: with propagation rshared nothing else can be mounted in it, such as /t/etc: it would appear on the host",
    ),
    (host(Binds=["/tmp:/dev/t:shared"]), 501, "mount /dev/t: a shared mount in /dev /proc /sys is not possible"),
    # Limits.
    (host(Ulimits=[{"Name": "nonsense", "Soft": 1, "Hard": 1}]), 400, "invalid ulimit type: nonsense"),
    (
        host(Ulimits=[{"Name": "nofile", "Soft": 2, "Hard": 1}]),
        400,
        "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
    ),
    (host(Sysctls={"kernel.panic": "1"}), 400, 'sysctl "kernel.panic" is not in a separate kernel namespace'),
    (host(Memory=1), 400, "Minimum memory limit allowed is 6MB"),
    (host(MemorySwap=1), 400, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    (host(CpusetCpus="nonsense"), 400, "Invalid value nonsense for cpuset cpus"),
    (host(BlkioWeight=5), 400, "Range of blkio weight is from 10 to 1000"),
    (host(NanoCpus=1, CpuPeriod=1000), 400, "Conflicting options: Nano CPUs and CPU Period cannot both be set."),
    (host(CpuPeriod=1), 400, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    (host(PidsLimit=-2), 400, "invalid pids limit: -2"),
    (
        host(HugepageLimits=[{"pageSize": "2mb", "limit": 1}]),
        400,
        "invalid huge page size 2mb: a number and KB, MB or GB is expected, such as 2MB",
    ),
    (host(HugepageLimits=[{"pageSize": "2MB", "limit": -1}]), 400, "invalid limit of huge pages of 2MB: -1"),
    (
        host(HugepageLimits=[{"pageSize": "2MB", "limit": 1}, {"pageSize": "2MB", "limit": 2}]),
        400,
        "invalid huge page limits: each page size can be limited once",
    ),
    (
        host(HugepageLimits=[{"pageSize": "../x.KB", "limit": 1}]),
        400,
        "invalid huge page size ../x.KB: a number and KB, MB or GB is expected, such as 2MB",
    ),
    (host(Rdma={"a b": {"hcaHandles": 1}}), 400, "invalid RDMA device a b: a name such as mlx5_0 is expected"),
    (
        host(Rdma={"mlx5_0": {}}),
        400,
        "invalid limit of the RDMA device mlx5_0: hcaHandles, hcaObjects or both are expected, from 0 on",
    ),
    (host(Rdma={"mlx5_0": 1}), 400, "Rdma mlx5_0 must be a JSON object"),
    (host(Rdma={"mlx5_0": {"hcaObjects": "1"}}), 400, "hcaObjects must be an integer"),
    (host(OomScoreAdj=1001), 400, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
    (host(ShmSize=-1), 400, "SHM size can not be less than 0"),
    # Confinement.
    (host(CapAdd=["NONSENSE"]), 400, 'invalid CapAdd: unknown capability: "CAP_NONSENSE"'),
    (host(SecurityOpt=["nonsense"]), 400, 'invalid --security-opt 1: "nonsense"'),
    # What is not there yet.
    (host(RestartPolicy={"Name": "always"}), 501, "restart policy 'always' is not supported yet: only no"),
]


@pytest.mark.parametrize(("body", "status", "message"), CREATES, ids=[str(number) for number in range(len(CREATES))])
def test_a_create_that_is_not_valid_is_refused(daemon: Daemon, body: Body, status: int, message: str) -> None:
    """The status and the sentence are Docker's, and no container is left behind."""
    asked = {"Image": "docket/base", "Cmd": ["true"], **body}
    assert daemon.request("POST", "/containers/create", asked) == (status, {"message": message})
    assert daemon.request("GET", "/containers/json?all=1") == (200, [])


NAMES = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
REQUESTS: list[tuple[str, str, int, str]] = [
    ("POST", "/containers/nosuch/start", 404, "No such container: nosuch"),
    ("POST", "/containers/victim/kill?signal=NONSENSE", 400, "invalid signal: NONSENSE"),
    ("POST", "/containers/victim/kill?signal=65", 400, "invalid signal: 65"),
    ("POST", "/containers/victim/stop?signal=-1", 400, "invalid signal: -1"),
    ("POST", "/containers/victim/rename?name=%C2%A7", 400, f"Invalid container name (\u00a7), {NAMES}"),
    ("POST", "/containers/victim/rename?name=-x", 400, f"Invalid container name (-x), {NAMES}"),
    ("POST", "/containers/create?name=a%0Ab", 400, f"Invalid container name (a\nb), {NAMES}"),
    ("POST", "/containers/create?name=%ED%A0%80", 400, "query string is not UTF-8"),
    ("GET", "/containers/nosuch/json", 404, "No such container: nosuch"),
    ("DELETE", "/containers/nosuch", 404, "No such container: nosuch"),
    ("GET", "/images/docket%2Fnosuch/json", 404, "No such image: docket/nosuch:latest"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status", "message"), REQUESTS, ids=[path for _, path, *_ in REQUESTS])
def test_a_request_that_is_not_valid_is_refused(daemon: Daemon, method: str, path: str, status: int, message: str) -> None:
    """The object that was named stays as it is."""
    _, made = daemon.request("POST", "/containers/create?name=victim", {"Image": "docket/base", "Cmd": ["true"]})
    try:
        assert daemon.request(method, path, {"Image": "docket/base", "Cmd": ["true"]}) == (status, {"message": message})
        assert daemon.request("GET", "/containers/victim/json")[1]["State"]["Status"] == "created"
    finally:
        daemon.request("DELETE", f"/containers/{made['Id']}")


def test_a_name_is_given_once(daemon: Daemon) -> None:
    """Docker's sentence names the holder."""
    asked = {"Image": "docket/base", "Cmd": ["true"]}
    _, made = daemon.request("POST", "/containers/create?name=once", asked)
    status, told = daemon.request("POST", "/containers/create?name=once", asked)
    assert (status, told["message"].split(".")[0]) == (409, "Conflict")
    assert f'"/once" is already in use by container "{made["Id"]}"' in told["message"]
    daemon.request("DELETE", f"/containers/{made['Id']}")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("0:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_a_user_that_the_image_does_not_have_stops_the_start(daemon: Daemon, user: str, message: str) -> None:
    """The container never runs as somebody else (S11)."""
    _, made = daemon.request("POST", "/containers/create", {"Image": "docket/base", "Cmd": ["true"], "User": user})
    status, told = daemon.request("POST", f"/containers/{made['Id']}/start")
    assert (status, told["message"].rpartition("process: ")[2]) == (400, message)
    daemon.request("DELETE", f"/containers/{made['Id']}")


def test_what_is_stored_is_what_was_checked(daemon: Daemon) -> None:
    """Of a limit that was given twice the last word counts, and a sysctl has one spelling."""
    limits = [{"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "nofile", "Soft": 3, "Hard": 4}]
    options = {"Ulimits": limits, "Sysctls": {"net/ipv4/ip_forward": "1"}}
    _, made = daemon.request("POST", "/containers/create", {"Image": "docket/base", "Cmd": ["true"], "HostConfig": options})
    kept = daemon.request("GET", f"/containers/{made['Id']}/json")[1]["HostConfig"]
    assert kept["Ulimits"] == [{"Name": "nofile", "Soft": 3, "Hard": 4}]
    assert kept["Sysctls"] == {"net.ipv4.ip_forward": "1"}
    daemon.request("DELETE", f"/containers/{made['Id']}")

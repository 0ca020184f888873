"""What the docker CLI sends and what docket sends for the same flags, byte for byte after decoding."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from docket_program import run_docket
from engine_samples import CONTAINERS, ID, IMAGES
from fake_engine import FakeEngine, Reply

DOCKER = shutil.which("docker")


def docker_version() -> str:
    if DOCKER is None:
        return ""
    return subprocess.run([DOCKER, "--version"], capture_output=True, text=True, timeout=30).stdout


pytestmark = pytest.mark.skipif(
    "version 28." not in docker_version(), reason="needs the docker CLI 28 to compare with: it is not installed"
)

BODIES = """
busybox
-it busybox sh -c 'echo x'
-i --name foo -e A=b -e HOME -e NOPE -l a=b -l c -v /tmp:/x:ro -v vol:/y -v /anon busybox
--mount type=bind,src=/tmp,dst=/z,readonly,bind-propagation=rslave --mount type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1770 img
--mount type=volume,src=v,dst=/v,volume-nocopy --mount src=x,dst=/d,volume-opt=a=b,volume-label=k=v,volume-driver=dd img
--mount type=bind,src=/a,dst=/b,bind-nonrecursive i
--mount type=bind,src=/a,dst=/c,bind-recursive=readonly,ro,bind-propagation=rprivate i
--mount type=tmpfs,dst=/t --mount type=foo,src=/x,dst=/y --mount type=bind,dst=/q,ro=false img
--tmpfs /run:rw,size=1m --tmpfs /x -u 1:2 -w /w --entrypoint /bin/sh -h hh --network host --read-only img a b
--ulimit nofile=1024:2048 --ulimit core=0 --ulimit nproc=-1 --sysctl net.ipv4.ip_forward=1 --init --shm-size 64m --group-add 5 img
--pid host --ipc private --uts host --userns host --cgroupns host --cap-add NET_ADMIN --cap-drop ALL --privileged img
--cap-add net_raw --cap-add ALL --cap-add CAP_SYS_ADMIN --cap-add NET_RAW --cap-drop foo img
--security-opt no-new-privileges --security-opt seccomp=unconfined --security-opt label:disable img
--security-opt systempaths=unconfined --ipc container:x --pid container:y img
--stop-signal TERM --stop-timeout 3 -m 64m --memory-swap -1 --memory-reservation 32m --cpus 1.5 -c 512 img
--stop-timeout 0 --pids-limit -1 --memory-swap 128m -m 1.5gb --cpus .5 --oom-kill-disable=false --init=false img
--cpu-quota 1000 --cpu-period 2000 --cpuset-cpus 0-1 --pids-limit 10 --oom-score-adj 5 --cpus 1/2 img
--device /dev/null --device /dev/zero:/dev/z:r --device /dev/full:rw --dns 1.1.1.1 --add-host a:1.2.3.4 img
--add-host x=1.2.3.4 --add-host y:host-gateway --add-host z:::1 --dns ::1 --dns-option x --dns-search y img
--log-driver json-file --log-opt max-size=1m --log-opt tag --platform linux/amd64 -a stdout img
--restart on-failure:3 -p 8080:80 -p 127.0.0.1::53/udp -P --expose 99 --expose 100-102/udp img
--restart unless-stopped -p 1000-1002:2000-2002 -p '[::1]:80:90/tcp' -p 70 -p 80-81:90 -p published=8080,target=81 img
--network foo --network-alias al --ip 10.0.0.1 --ip6 ::2 --mac-address 02:42:ac:11:00:02 --link-local-ip 169.254.1.1 --link x:y img
--network name=foo,alias=x,ip=1.2.3.4,driver-opt=a=b --network bar img
--net none --domainname b --hostname a img
--network container:abc img
--network bridge img
--entrypoint '' --no-healthcheck --rm -a stdin -a stderr img
--health-cmd 'true x' --health-interval 5s --health-retries 3 --health-timeout 1m30s i
--health-start-period 2s --health-start-interval 1s img
--annotation a=b --blkio-weight 100 --blkio-weight-device /dev/sda:100 i
--device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:5 img
--cgroup-parent /p --cpu-rt-period 5 --cpu-rt-runtime 4 --cpuset-mems 0 --device-cgroup-rule 'c 1:3 mr' --isolation x img
--memory-swappiness 5 --oom-kill-disable --runtime r --storage-opt size=1 --volume-driver d --volumes-from c:ro img
-l a=b=c -l d= -e X=1 -e X=2 -e 'Y=a b' -e 'Z=$x' -e E= img
--ulimit nofile=5 --ulimit nofile=6 -v a: -v / img -it --rm --foo
-tie A=1 --label=x -e=B=2 -w=/x -u5 img
--mount '"type=bind","src=/a,b",dst=/c' img
"""
FAILURES = """
run --foo x
run -p foo x
run -p 99999:80 x
run -p localhost:1:2 x
run -p 8080-8081:80-82 x
run -p 80/foo x
run --expose x y
run --expose 9-7 x
run -v :/x y
run --device /dev/x:/y:q z
run --restart on-failure:x y
run --security-opt x y
run --pid x y
run --uts x y
run --userns x y
run --cgroupns x y
run --mac-address foo y
run --network '' y
run --net host --net-alias x y
run --network bridge --network foo y
run --mount foo x
run --mount src=/x y
run --mount dst=/y,readonly=x z
run --mount type=volume,dst=/y,foo=bar z
run --mount type=bind,src=/x,dst=/y,tmpfs-size=5 z
run --ulimit foo=5 x
run --ulimit nofile=5:2 x
run --ulimit nofile=1:2:3 x
run --ulimit nofile=x y
run --sysctl foo x
run --add-host x y
run --dns x y
run -l =x y
run -e =x y
run -a x y
run --log-driver none --log-opt a=b x
run --no-healthcheck --health-cmd x y
run --cpus 1.23456789012 x
run --health-interval x y
run --stop-timeout x y
run --shm-size 5q y
ps -n x
ps -f x
stop -t x y
exec a
logs
rename a
"""


def docker(engine: FakeEngine, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    assert DOCKER is not None
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "DOCKET_"))}
    return subprocess.run(
        [DOCKER, *arguments],
        env={**kept, "TZ": "UTC", "DOCKER_HOST": engine.host}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def rules(engine: FakeEngine) -> None:
    """What both programs need to come as far as the create request, and the lists that both print."""
    engine.on("GET", "/info", Reply(body={"OSType": "linux"}))
    engine.on("POST", "/containers/create", Reply(201, {"Id": ID, "Warnings": []}))
    engine.on("GET", "/containers/json", Reply(body=CONTAINERS))
    engine.on("GET", "/images/json", Reply(body=IMAGES))


@pytest.mark.parametrize("flags", BODIES.strip().splitlines())
def test_create_bodies_are_dockers(engine: FakeEngine, flags: str) -> None:
    """The same flags give the same query and the same body."""
    arguments = ["create", *shlex.split(flags)]
    theirs = docker(engine, arguments)
    ours = run_docket(*arguments, DOCKET_HOST=engine.host)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), ours.stderr + theirs.stderr
    expected, sent = engine.seen("POST", "/containers/create")
    assert sent.query == expected.query
    assert comparable(sent.json()) == comparable(expected.json())


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what the docker CLI leaves to chance: it keeps the environment in a map."""
    host = body["HostConfig"]
    binds = host["Binds"] and sorted(host["Binds"])  # docker takes -v out of a Go map: its order is another one each time
    return {**body, "Env": sorted(body["Env"] or ()), "HostConfig": {**host, "Binds": binds}}


@pytest.mark.parametrize("line", FAILURES.strip().splitlines())
def test_refusals_are_dockers(tmp_path: Path, engine: FakeEngine, line: str) -> None:
    """The same wrong flags give the same first line and exit code."""
    arguments = shlex.split(line)
    theirs = docker(engine, arguments)
    ours = run_docket(*arguments, DOCKET_HOST=engine.host)
    assert ours.stderr.splitlines()[0] == theirs.stderr.splitlines()[0].replace("docker", "docket")
    assert ours.returncode == theirs.returncode


@pytest.mark.parametrize(
    "line",
    [
        "ps", "ps -a --no-trunc", "ps -aqs", "ps -s", "ps --format json",
        "ps --format 'table {{.ID}}\\t{{.Names}}\\t{{.Label \"a\"}}\\t{{upper .State}}'",
        "ps --format '{{range $i, $e := split .Labels \",\"}}{{$i}}={{$e}};{{end}}'",
        "ps --format '{{if eq .Names \"web\"}}y{{else}}n{{end}} {{printf \"%-5s|%q\" .Names .Image}}'",
        "ps --format '{{.CreatedAt}}|{{.RunningFor}}|{{.Size}}|{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}'",
        "images", "images -q", "images --digests --no-trunc",
        "images --format '{{.Repository}}:{{.Tag}} {{.Size}} {{.CreatedSince}}'",
    ],
)  # fmt: skip
def test_lists_print_as_dockers(engine: FakeEngine, line: str) -> None:
    """The same answers print the same tables."""
    arguments = shlex.split(line)
    theirs = docker(engine, arguments)
    ours = run_docket(*arguments, DOCKET_HOST=engine.host)
    # Docker escapes <, > and & in JSON for the sake of web pages.
    expected = theirs.stdout.replace("\\u003e", ">").replace("\\u003c", "<")
    # The docker CLI keeps an image's repositories in a map: their order is left to chance.
    assert sorted(ours.stdout.splitlines()) == sorted(expected.splitlines())

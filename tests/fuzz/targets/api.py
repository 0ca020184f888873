"""Every route of the API, with any query and any body, over a whole engine on the fake kernel.

An input is a series of requests: a line with method, target and headers (``name:value``), and under it the body, up to a line
``---``. Each series begins with an image and a created container ``idle``; where ``web`` or ``EXEC`` occurs also with a running
container ``web`` and an exec in it, for whose id ``EXEC`` stands. What a handler raises must be what the server answers by rule
(`HttpError`, `Rejected`, `PortError`), and afterwards everything must hold that holds in a simulation.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import parse_qsl, quote, urlencode

import trio
from tests.fuzz.mutation import Mixer, mutate_bytes, mutate_json_text, mutate_lines
from tests.fuzz.targets import Target
from tests.simulation import deterministic
from tests.simulation.scenarios import IMAGE, ask, create, import_image, start
from tests.simulation.world import World

from docket.adapters.api.errors import to_response
from docket.adapters.api.routes import router
from docket.adapters.http import Hijacked, HttpError, MalformedRequest, Request, Response, Router
from docket.adapters.http.head import split_target
from docket.adapters.http.peer import Peer
from docket.adapters.http.wire import field_lines
from docket.domain.engine import Engine
from docket.domain.errors import PortError, Rejected
from docket.domain.jobs.exec_ import CreateRequest
from docket.domain.model.exec.events import ExecSpec
from docket.kernel.history import KernelHistory

_END = b"\n---\n"
_EXEC = "EXEC"
_PATIENCE_SECONDS = 30  # of the mock clock
_NAMES = ("web", "idle", "nobody", "a" * 64, IMAGE, "tiny", _EXEC, "sha256:" + "1" * 64)
_BODY: dict[str, Any] = {
    "Image": "tiny", "Cmd": ["sleep", "5"], "Entrypoint": None, "Env": ["A=b", "C"], "Labels": {"a": "b"}, "User": "1:2",
    "WorkingDir": "/srv", "StopSignal": "SIGINT", "StopTimeout": 3, "Tty": False, "OpenStdin": True, "StdinOnce": True,
    "AttachStdout": True, "Hostname": "host", "Domainname": "example", "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
    "Healthcheck": {"Test": ["NONE"]}, "MacAddress": "", "NetworkingConfig": {"EndpointsConfig": {"none": {"Aliases": None}}},
    "HostConfig": {
        "NetworkMode": "none", "PidMode": "", "IpcMode": "private", "UTSMode": "", "CgroupnsMode": "private", "UsernsMode": "",
        "Binds": ["/srv/shared:/v:ro"], "Tmpfs": {"/t": "size=1m,mode=755"}, "ReadonlyRootfs": True, "ShmSize": 65536,
        "Mounts": [{"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 448}}],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}, "Annotations": {"x": "y"},
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm"}],
        "DeviceCgroupRules": ["c 1:3 rwm"], "Privileged": False, "CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"], "Init": True,
        "SecurityOpt": ["no-new-privileges", 'seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}'], "GroupAdd": ["5"],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "Sysctls": {"net.core.somaxconn": "9"}, "OomScoreAdj": 1,
        "ExtraHosts": ["a:127.0.0.1"], "Dns": ["127.0.0.1"], "DnsSearch": ["x"], "DnsOptions": ["ndots:1"], "AutoRemove": True,
        "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"], "ConsoleSize": [24, 80], "RestartPolicy": {"Name": "no"},
        "Memory": 67108864, "MemoryReservation": 4194304, "MemorySwap": -1, "CpuShares": 512, "NanoCpus": 500000000,
        "CpuQuota": 0, "CpuPeriod": 0, "CpusetCpus": "0", "CpusetMems": "0", "PidsLimit": 10, "BlkioWeight": 100,
        "BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1024}], "OomKillDisable": False, "PortBindings": {}, "Runtime": "",
    },
}  # fmt: skip
_FILTERS = {
    "ancestor": ["tiny"], "before": ["web"], "exited": ["0"], "label": ["a=b"], "name": ["^/?w.*b$"], "status": ["running"],
    "network": ["none"], "volume": ["/v"], "reference": ["tin*"], "dangling": ["true"], "type": ["container"], "event": ["start"],
}  # fmt: skip
_QUERY = (
    "all=1&limit=2&at=5&size=1&since=1.5&until=3&follow=1&stdout=1&stderr=1&timestamps=1&tail=5&signal=TERM&t=0&h=24&w=80&"
    "condition=next-exit&force=1&v=1&name=new&repo=a/b&tag=c&fromSrc=-&changes=CMD+x&message=m&platform=linux/amd64&stream=0&"
    "one-shot=1&after=2&container=web&type=ContainerCreated&job=1&detachKeys=ctrl-a&logs=1&stdin=1&secrets=1&ps_args=-ef"
)


def _seeds() -> list[bytes]:
    """Every route with every parameter, for each thing that there is; and series that tell a story."""
    seeds = []
    for route in router(MagicMock(), MagicMock()).routes:
        for name in ("EXEC",) if route.template.startswith("/exec") else ("web", "tiny"):
            target = route.template.replace("{id}", name).replace("{name:path}", name)
            seeds.append(f"{route.method} {target}?{_QUERY}\n{{}}".encode())
            seeds.append(f"{route.method} {target}?filters={quote(json.dumps(_FILTERS))}\n".encode())
    made = b"POST /containers/create?name=new\n" + json.dumps(_BODY).encode()
    exec_body = {
        "Cmd": ["echo", "a"], "Env": ["A=b"], "User": "0", "WorkingDir": "/", "Tty": True, "AttachStdin": True,
        "AttachStdout": True, "Privileged": True, "DetachKeys": "ctrl-p", "ConsoleSize": [1, 2],
    }  # fmt: skip
    seeds += [
        made,
        _END.join([made, b"POST /containers/new/start\n", b"GET /containers/new/json\n", b"GET /docket/explain/new\n"]),
        _END.join([b"POST /containers/web/exec\n" + json.dumps(exec_body).encode(), b'POST /exec/EXEC/start\n{"Detach":true}']),
        _END.join(
            [b"POST /containers/web/update\n" + json.dumps(_BODY["HostConfig"]).encode(), b"DELETE /containers/web?force=1\n"]
        ),
        b"POST /images/create?fromSrc=-&repo=new&changes=ENV+A%3Db\ntiny",
        b"POST /images/create?fromImage=app&tag=1&platform=linux/amd64 x-registry-auth:eyJ1c2VybmFtZSI6ImEifQ==\n",
        b"POST /images/tiny/push?tag=latest x-registry-auth:e30=\n",
        b'POST /auth\n{"username":"a","password":"b","serveraddress":"r.example","email":"","identitytoken":""}',
        b"GET /images/search?term=app&limit=5&filters={%22is-official%22:{%22true%22:true}}\n",
        b"GET /distribution/app:1/json\n",
        b"GET /images/get?names=tiny\n",
        b"POST /images/load?quiet=1\ntiny",
        b"POST /images/prune?filters={%22dangling%22:[%22false%22],%22until%22:[%221h%22]}\n",
        b"GET /system/df?type=image&type=container\n",
        b'POST /commit?container=web&repo=new&tag=1&comment=c&author=a&pause=1&changes=CMD+x\n{"Cmd":["x"],"Labels":{"a":"b"}}',
        b"GET /containers/web/archive?path=/etc\n",
        b"PUT /containers/web/archive?path=/&noOverwriteDirNonDir=1&copyUIDGID=1\n" + bytes(1024),
        b"GET /containers/web/changes\n",
        b'GET /containers/json?filters={"name":{"web":true}}\n',
    ]
    return seeds


class _Client:
    """Where a request comes from (`RequestSource`), and where a stream is written."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.written = 0

    async def read_body(self, limit: int | None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._body

    async def body_chunks(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        if self._body:
            yield self._body

    async def hijack(self, upgrade: bool, content_type: str, headers: Any) -> Hijacked:
        await trio.lowlevel.checkpoint()
        raise _TakenOver

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.written += len(data)


class _TakenOver(Exception):
    """The request was accepted, and the connection leaves HTTP."""


def _run(data: bytes) -> None:
    deterministic.run(0, _series, data)


async def _series(data: bytes) -> None:
    world = World()

    async def body(engine: Engine) -> None:
        await import_image(engine, world)
        await create(engine, "idle")
        instance = ""
        if b"web" in data or _EXEC.encode() in data:  # starting one is most of the work
            await create(engine, "web")
            await start(engine, "web")
            instance = await ask(engine, "exec_create", "web", request=CreateRequest(ExecSpec(""), ("sleep", "9")))
        routes = router(engine, KernelHistory())
        for text in data.split(_END):
            line, _, sent = text.partition(b"\n")
            method, target, *fields = [*line.decode("latin-1").split(" "), ""]
            headers = {name.lower(): value for name, _, value in (field.partition(":") for field in fields) if name}
            await _answer(routes, method, target.replace(_EXEC, instance), headers, sent)
        await world.settle()
        world.check(engine)

    await world.live(body)


async def _answer(routes: Router, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
    """One request as the server treats it. Raises what the server would call a bug."""
    client = _Client(body)
    try:
        path, query = split_target(target)
        request = Request(
            client,
            method=method,
            target=target,
            path=path,
            query_string=query,
            headers=headers,
            peer=Peer("unix", uid=0, gid=0, pid=1),
        )
        match = routes.match(method, path)
        request.path, request.parameters, request.api_version = match.path, match.parameters, match.api_version
        with trio.move_on_after(_PATIENCE_SECONDS):
            answer = await match.route.handler(request)
            if answer is not None:
                field_lines(answer.headers)
            if answer is not None and not isinstance(answer, Response):
                await answer.write(client)
    except (HttpError, MalformedRequest, _TakenOver):
        return
    except (Rejected, PortError) as error:
        assert to_response(error) is not None


def _mutate(mixer: Mixer, data: bytes) -> bytes:
    blocks = data.split(_END)
    dice, at = mixer.dice, mixer.dice.randrange(len(blocks))
    line, _, body = blocks[at].partition(b"\n")
    match dice.randrange(9):
        case 0 | 1 | 2:
            blocks[at] = line + b"\n" + mutate_json_text(mixer, body)
        case 3 | 4:
            blocks[at] = _other_target(mixer, line) + b"\n" + body
        case 5:
            blocks.insert(at, dice.choice(mixer.other().split(_END)))
        case 6:
            blocks[at] = dice.choice(mixer.other().split(_END)).partition(b"\n")[0] + b"\n" + body
        case 7:
            return mutate_lines(mixer, data)
        case _:
            return mutate_bytes(mixer, data)
    return _END.join(blocks[:8])


def _other_target(mixer: Mixer, line: bytes) -> bytes:
    """Another object, or another value of a parameter."""
    dice = mixer.dice
    path, _, query = line.decode("latin-1").partition("?")
    if dice.random() < 0.2:
        parts = path.split("/")
        parts[dice.randrange(len(parts))] = quote(dice.choice((*_NAMES, mixer.word())), errors="replace")
        return f"{'/'.join(parts)}?{query}".encode("latin-1", "replace")
    pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    if not pairs or dice.random() < 0.2:
        pairs.append((mixer.word(), mixer.word()))
    at = dice.randrange(len(pairs))
    name, value = pairs[at]
    if name == "filters":
        changed = mutate_json_text(mixer, value.encode("latin-1", "replace"))
    else:
        changed = dice.choice(
            (mutate_bytes(mixer, value.encode("latin-1", "replace")), mixer.word().encode("utf-8", "replace"))
        )
    pairs[at] = (name, changed.decode("latin-1"))
    if dice.random() < 0.2:
        del pairs[dice.randrange(len(pairs))]
    return f"{path}?{urlencode(pairs, encoding='latin-1', errors='replace')}".encode("latin-1", "replace")


TARGETS = {
    "api": Target("api", ("adapters/api/", "domain/jobs/", "domain/model/", "domain/confinement/"), _seeds, _run, _mutate)
}

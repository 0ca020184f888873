"""``_ping``, ``version``, ``info``, and docket's own view of the log."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from docket import __version__
from docket.adapters.api.times import rfc3339
from docket.adapters.http import MAX_API_VERSION, MIN_API_VERSION, Request, Response, Route, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.log import StoredEvent

API_VERSION = ".".join(str(part) for part in MAX_API_VERSION)
_MIN_API_VERSION = ".".join(str(part) for part in MIN_API_VERSION)


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def ping(request: Request) -> Response:
        return Response.text("OK", headers=[("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache")])

    async def version(request: Request) -> Response:
        return Response.json(_version(engine))

    async def info(request: Request) -> Response:
        return Response.json(_info(engine))

    async def log(request: Request) -> Stream:
        return _log(engine, request)

    return [
        Route("GET", "/_ping", ping),
        Route("HEAD", "/_ping", ping),
        Route("GET", "/version", version),
        Route("GET", "/info", info),
        Route("GET", "/docket/log", log),
    ]


def _version(engine: Engine) -> dict[str, Any]:
    host = engine.ports.kernel.host()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(host.architecture, host.architecture)
    details = {"ApiVersion": API_VERSION, "MinAPIVersion": _MIN_API_VERSION, "Os": "linux", "Arch": arch}
    return {
        "Platform": {"Name": "docket"},
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": _MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": host.kernel_release,
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
    }


def _info(engine: Engine) -> dict[str, Any]:
    host, state = engine.ports.kernel.host(), engine.state
    alive = [container for container in state.containers.values() if container.alive]
    paused = sum(container.status.value == "paused" for container in alive)
    limits = set(host.controllers)
    security = ["name=seccomp,profile=builtin", "name=cgroupns"] if host.seccomp else ["name=cgroupns"]
    warnings = ["network: the default network is none: bridge networks are not there yet"]
    warnings += [
        f"no {name} limits: the controller is not in the cgroup2 hierarchy"
        for name in ("cpu", "memory", "pids")
        if name not in limits
    ]
    return {
        "ID": host.boot_id,
        "Name": host.hostname,
        "Containers": len(state.containers),
        "ContainersRunning": len(alive) - paused,
        "ContainersPaused": paused,
        "ContainersStopped": len(state.containers) - len(alive),
        "Images": len(state.images),
        "Driver": "overlay2",
        "DriverStatus": [],
        "DockerRootDir": engine.ports.places.data_root,
        "Plugins": {"Volume": [], "Network": ["none", "host"], "Authorization": None, "Log": ["json-file"]},
        "MemoryLimit": "memory" in limits,
        "SwapLimit": "memory" in limits,
        "CpuCfsPeriod": "cpu" in limits,
        "CpuCfsQuota": "cpu" in limits,
        "CPUShares": "cpu" in limits,
        "CPUSet": "cpuset" in limits,
        "PidsLimit": "pids" in limits,
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "KernelVersion": host.kernel_release,
        "OperatingSystem": host.operating_system,
        "OSType": "linux",
        "Architecture": host.architecture,
        "NCPU": host.cpus,
        "MemTotal": host.memory_bytes,
        "SystemTime": rfc3339(engine.ports.clock.now_ns()),
        "ServerVersion": __version__,
        "DefaultRuntime": "docket",
        "Runtimes": {"docket": {"path": "docket"}},
        "Swarm": {"LocalNodeState": "inactive"},
        "LiveRestoreEnabled": True,
        "SecurityOptions": security,
        "Warnings": warnings,
        "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": [], "Mirrors": []},
    }


def _log(engine: Engine, request: Request) -> Stream:
    query = request.query
    after, limit = query.integer("after", 0) or 0, query.integer("limit")
    container, wanted = query.get("container"), query.get("type")
    stream = f"container-{engine.container(container).id}" if container else None
    job, follow = query.get("job"), query.boolean("follow")
    types = (wanted,) if wanted else None

    async def write(out: StreamSender) -> None:
        await engine.ports.store.settle()
        with engine.subscribe() as live:
            last = after
            past = engine.ports.store.read(after, stream=stream, types=types, job=job)
            for stored in past if limit is None else deque(past, limit):
                last = stored.position
                await out.send(line(stored))
            if not follow:
                return
            async for stored in live:
                matches = stored.position > last and (stream is None or stored.stream == stream)
                if matches and (not wanted or type(stored.event).__name__ == wanted):
                    await out.send(line(stored))

    return Stream(write, content_type="application/x-ndjson", endless=follow)


def line(stored: StoredEvent) -> bytes:
    """One event as a line of JSON."""
    shown = {
        "position": stored.position,
        "stream": stored.stream,
        "version": stored.version,
        "type": type(stored.event).__name__,
        "time": stored.metadata.time_ns,
        "job": stored.metadata.job,
        "actor": stored.metadata.actor,
        "causation": stored.metadata.causation,
        "data": stored.event,
        "hash": stored.hash.hex(),
    }
    return msgspec.json.encode(shown) + b"\n"

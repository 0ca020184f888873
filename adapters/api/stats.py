"""``/containers/{id}/stats``: samples of a cgroup in Docker's form; what no controller measures is left out."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from docket.adapters.api.times import NEVER, rfc3339
from docket.adapters.http import Request, Route, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.model.container.state import Container
from docket.domain.ports import Statistics

_INTERVAL_SECONDS = 1


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def stats(request: Request) -> Stream:
        container = engine.container(request.parameters["id"])
        once = "stream" in request.query and not request.query.boolean("stream")
        quick = request.query.boolean("one-shot")

        async def write(out: StreamSender) -> None:
            before: Statistics | None = None
            while container.id in engine.state.containers:
                now = await _sample(engine, container)
                if not once or quick or before is not None:
                    await out.send(msgspec.json.encode(_message(engine, container, now, before)) + b"\n")
                    if once:
                        return
                before = now
                await trio.sleep(_INTERVAL_SECONDS)

        return Stream(write, endless=True)

    return [Route("GET", "/containers/{id}/stats", stats)]


async def _sample(engine: Engine, container: Container) -> Statistics:
    if not container.alive:
        return Statistics(engine.ports.clock.now_ns())
    return await engine.ports.kernel.statistics(container.cgroup, container.pid)


def _message(engine: Engine, container: Container, now: Statistics, before: Statistics | None) -> dict[str, Any]:
    host = engine.ports.kernel.host()
    memory: dict[str, Any] = {}
    if now.memory_bytes is not None:
        memory = {"usage": now.memory_bytes, "limit": now.memory_limit_bytes or host.memory_bytes, "stats": now.memory}
    pids: dict[str, Any] = {} if now.pids is None else {"current": now.pids}
    if now.pids_limit is not None:
        pids["limit"] = now.pids_limit
    return {
        "read": rfc3339(now.time_ns),
        "preread": rfc3339(before.time_ns) if before is not None else NEVER,
        "name": f"/{container.name}",
        "id": container.id,
        "num_procs": 0,
        "pids_stats": pids,
        "cpu_stats": _cpu(now, host.cpus),
        "precpu_stats": _cpu(before, host.cpus),
        "memory_stats": memory,
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": major, "minor": minor, "op": name, "value": value} for major, minor, name, value in now.io
            ]
        },
        "networks": now.networks,
        "storage_stats": {},
        **({"hugetlb_stats": now.hugepages} if now.hugepages else {}),
        **({"rdma_stats": now.rdma} if now.rdma else {}),
        **({"pressure_stats": now.pressure} if now.pressure else {}),
    }


def _cpu(sample: Statistics | None, cpus: int) -> dict[str, Any]:
    if sample is None or sample.cpu_ns is None:
        return {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}}
    return {
        "cpu_usage": {
            "total_usage": sample.cpu_ns,
            "usage_in_kernelmode": sample.cpu_system_ns or 0,
            "usage_in_usermode": sample.cpu_user_ns or 0,
        },
        "system_cpu_usage": sample.system_cpu_ns,
        "throttling_data": dict(
            zip(("periods", "throttled_periods", "throttled_time"), sample.throttling or (0, 0, 0), strict=True)
        ),
        "online_cpus": cpus,
    }

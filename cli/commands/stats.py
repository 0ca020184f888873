"""`docket stats`: the resource use of containers, once or again and again.

The engine is asked for one sample of each container per round (it takes two and answers after about a second, which is the
pace), so containers that start or end in between come and go by themselves.
"""

from __future__ import annotations

import os

from docket.cli.client import quote
from docket.cli.errors import EngineError
from docket.cli.formatting import binary_size, human_size, print_rows, short_id
from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options

_TITLES = {
    "Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}  # fmt: skip
_COLUMNS = "ID Name CPUPerc MemUsage MemPerc NetIO BlockIO PIDs"
_CLEAR = "\x1b[H\x1b[J"


def _handle(context: Context, options: Options) -> int:
    clears = os.isatty(1) and not options["no-stream"]
    while True:
        # A name that does not exist is an error; one that goes away while we watch is not.
        rows = [_row(name, sample, options["no-trunc"]) for name, sample in _samples(context, options)]
        if clears:
            context.write(_CLEAR)
        print_rows(context, rows, options["format"], _TITLES, _COLUMNS)
        context.flush()
        if options["no-stream"] or not rows:
            return 0


def _samples(context: Context, options: Options) -> list[tuple[str, dict[str, Any]]]:
    client = context.client()
    names = options.args
    if not names:
        query = [("all", "1")] if options["all"] else []
        names = [container["Id"] for container in client.value("GET", "/containers/json", query)]
    # All are asked before the first answer is read: each takes a second, and they take it together.
    pending = []
    for name in names:
        try:
            pending.append((name, client.begin("GET", f"/containers/{quote(name)}/stats", [("stream", "0")])))
        except EngineError:
            if options.args:
                raise
    samples = []
    for name, reply in pending:
        try:
            samples.append((name, reply()))
        except EngineError:
            if options.args:
                raise
    return samples


def _row(name: str, sample: dict[str, Any], full: bool) -> dict[str, Any]:
    memory = sample.get("memory_stats") or {}
    usage, limit = _memory(memory), memory.get("limit", 0)
    networks = (sample.get("networks") or {}).values()
    received, sent = (sum(network.get(key, 0) for network in networks) for key in ("rx_bytes", "tx_bytes"))
    read, written = _blocks(sample)
    return {
        "Container": name,
        "ID": short_id(sample.get("id", ""), full),
        "Name": sample.get("name", "").removeprefix("/"),
        "CPUPerc": f"{_cpu(sample):.2f}%",
        "MemUsage": f"{binary_size(usage)} / {binary_size(limit)}",
        "MemPerc": f"{usage / limit * 100 if limit else 0:.2f}%",
        "NetIO": f"{human_size(received)} / {human_size(sent)}",
        "BlockIO": f"{human_size(read)} / {human_size(written)}",
        "PIDs": str((sample.get("pids_stats") or {}).get("current", 0)),
    }


def _memory(memory: dict[str, Any]) -> int:
    """Use without the page cache that the kernel would give back first (`total_inactive_file` is cgroup v1's)."""
    usage: int = memory.get("usage", 0)
    details = memory.get("stats") or {}
    inactive: int = details.get("total_inactive_file", details.get("inactive_file", 0))
    return usage - inactive if inactive < usage else usage


def _cpu(sample: dict[str, Any]) -> float:
    now, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    used = _total(now) - _total(before)
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    cpus = now.get("online_cpus") or len((now.get("cpu_usage") or {}).get("percpu_usage") or ()) or 1
    return float(used / passed * cpus * 100)


def _total(cpu: dict[str, Any]) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage", 0))


def _blocks(sample: dict[str, Any]) -> tuple[int, int]:
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    totals = {"r": 0, "w": 0}
    for entry in entries:
        initial = str(entry.get("op", ""))[:1].lower()
        if initial in totals:
            totals[initial] += entry.get("value", 0)
    return totals["r"], totals["w"]


STATS = Command(
    "docket stats", "Show the resource use of containers as it changes",
    (
        ("all", "a", "bool", False, "Show all containers, not only running ones"),
        ("format", "", "string", "", "Print by a Go template, as json, or as a table of a template's fields"),
        ("no-stream", "", "bool", False, "Show it once"),
        ("no-trunc", "", "bool", False, "Cut nothing off"),
    ),
    _handle, "[CONTAINER...]", 0, -1, aliases=("docket container stats", "docket stats"),
)  # fmt: skip

"""Readings of running containers: processes for ``top``, cgroup and network counters for ``stats``."""

from __future__ import annotations

import os
from glob import escape as glob_escape
from glob import glob
from time import time_ns

from docket.domain.ports import ProcessRow, Statistics

_TICKS = os.sysconf("SC_CLK_TCK")
_NS_PER_TICK = 1_000_000_000 // _TICKS
_UNLIMITED = "max"


def read_text(path: str) -> str:
    """The text of a kernel-made file; empty when it is not there or its object is gone."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def processes(cgroup: str) -> tuple[ProcessRow, ...]:
    """The processes of a cgroup and of those below it."""
    boot_ns = time_ns() - int(float((read_text("/proc/uptime") or "0").split()[0]) * 1e9)
    pids: set[int] = set()
    for directory, _, _ in os.walk(cgroup):
        pids.update(int(pid) for pid in read_text(f"{directory}/cgroup.procs").split())
    rows = (_process(pid, boot_ns) for pid in sorted(pids))
    return tuple(row for row in rows if row is not None)


def _process(pid: int, boot_ns: int) -> ProcessRow | None:
    stat = read_text(f"/proc/{pid}/stat")
    if not stat:
        return None
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    command = read_text(f"/proc/{pid}/cmdline").replace("\0", " ").strip() or f"[{name}]"
    uid = next((line.split()[1] for line in read_text(f"/proc/{pid}/status").splitlines() if line.startswith("Uid:")), "0")
    terminal = int(fields[4])
    return ProcessRow(
        pid,
        int(fields[1]),
        int(uid),
        command,
        boot_ns + int(fields[19]) * _NS_PER_TICK,
        (int(fields[11]) + int(fields[12])) * _NS_PER_TICK,
        f"pts/{terminal & 0xFF}" if terminal else "?",
    )


def statistics(cgroup: str, pid: int) -> Statistics:
    """One sample; what no controller measures stays None."""
    cpu = _keyed(f"{cgroup}/cpu.stat")
    memory = _number(f"{cgroup}/memory.current")
    return Statistics(
        time_ns=time_ns(),
        cpu_ns=cpu["usage_usec"] * 1000 if "usage_usec" in cpu else None,
        cpu_user_ns=cpu["user_usec"] * 1000 if "user_usec" in cpu else None,
        cpu_system_ns=cpu["system_usec"] * 1000 if "system_usec" in cpu else None,
        system_cpu_ns=_system_cpu_ns(),
        memory_bytes=memory,
        memory_limit_bytes=_number(f"{cgroup}/memory.max"),
        memory=_keyed(f"{cgroup}/memory.stat"),
        pids=_number(f"{cgroup}/pids.current"),
        pids_limit=_number(f"{cgroup}/pids.max"),
        io=_io(f"{cgroup}/io.stat"),
        networks=_networks(pid),
        throttling=_throttling(cpu),
        hugepages=_hugepages(cgroup),
        rdma=_rdma(f"{cgroup}/rdma.current"),
        pressure={name: found for name in ("cpu", "memory", "io") if (found := _pressure(f"{cgroup}/{name}.pressure"))},
    )


def _throttling(cpu: dict[str, int]) -> tuple[int, int, int] | None:
    if "nr_periods" not in cpu:
        return None
    return cpu["nr_periods"], cpu["nr_throttled"], cpu["throttled_usec"] * 1000


def _pressure(path: str) -> dict[str, dict[str, float]]:
    """Lines such as ``some avg10=0.00 avg60=0.00 avg300=0.00 total=0`` (Documentation/accounting/psi.rst)."""
    rows = {}
    for line in read_text(path).splitlines():
        kind, *pairs = line.split()
        rows[kind] = {name: float(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    return rows


def _keyed(path: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in read_text(path).splitlines())}


def _number(path: str) -> int | None:
    text = read_text(path).strip()
    return int(text) if text and text != _UNLIMITED else None


def _system_cpu_ns() -> int:
    first = read_text("/proc/stat").partition("\n")[0].split()
    return sum(int(field) for field in first[1:8]) * _NS_PER_TICK


def _io(path: str) -> tuple[tuple[int, int, str, int], ...]:
    rows = []
    for line in read_text(path).splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        counters = dict(pair.split("=") for pair in pairs)
        for key, name in (("rbytes", "read"), ("wbytes", "write")):
            if key in counters:
                rows.append((int(major), int(minor), name, int(counters[key])))
    return tuple(rows)


def _hugepages(cgroup: str) -> dict[str, dict[str, int]]:
    """Of each size that the group has files for (cgroup-v2, "HugeTLB")."""
    found = {}
    for path in sorted(glob(f"{glob_escape(cgroup)}/hugetlb.*.current")):
        size = os.path.basename(path).split(".")[1]
        used, events = _number(path), _keyed(f"{cgroup}/hugetlb.{size}.events")
        if ".rsvd." not in path and used is not None:
            found[size] = {"usage": used, "failcnt": events.get("max", 0)}
    return found


def _rdma(path: str) -> dict[str, dict[str, int]]:
    """Lines such as ``mlx4_0 hca_handle=2 hca_object=2000``."""
    rows = {}
    for line in read_text(path).splitlines():
        device, *pairs = line.split()
        counts = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
        rows[device] = {name: int(value) for name, value in counts.items() if value.isdigit()}
    return rows


def _networks(pid: int) -> dict[str, dict[str, int]]:
    """The links of the process's network namespace, without loopback (/proc/net/dev)."""
    names = ("bytes", "packets", "errors", "dropped")
    links = {}
    for line in read_text(f"/proc/{pid}/net/dev").splitlines()[2:]:
        name, _, rest = line.strip().partition(":")
        fields = [int(field) for field in rest.split()]
        if name == "lo":
            continue
        received = {f"rx_{key}": fields[at] for at, key in enumerate(names)}
        links[name] = received | {f"tx_{key}": fields[8 + at] for at, key in enumerate(names)}
    return links

"""The cgroup of a container: which controllers its limits need, and what is written where (cgroup-v2, "Controllers").

A limit whose controller the host cannot give is refused with the reason; none is dropped silently.
"""

from __future__ import annotations

from collections.abc import Mapping

from docket.domain.errors import Rejected, Unsupported
from docket.domain.model.container.spec import RdmaLimit, Resources
from docket.domain.plan import operations as op
from docket.domain.ports import HostFacts

_PERIOD_US = 100_000
DEFAULT_PIDS = 32_768


def settings(
    resources: Resources, host: HostFacts | None = None, numbers: Mapping[str, str] | None = None
) -> tuple[tuple[str, str, str], ...]:
    """``(controller, file, value)`` for every limit that was asked for; ``numbers`` are those of the block devices by path."""
    wanted: list[tuple[str, str, str]] = []
    if resources.memory_bytes:
        wanted.append(("memory", "memory.max", str(resources.memory_bytes)))
        if resources.memory_swap_bytes or host is None or host.swap_accounting:
            wanted.append(("memory", "memory.swap.max", _swap(resources)))
    if resources.memory_reservation_bytes:
        wanted.append(("memory", "memory.low", str(resources.memory_reservation_bytes)))
    if resources.cpu_shares:
        wanted.append(("cpu", "cpu.weight", str(weight_of_shares(resources.cpu_shares))))
    if resources.nano_cpus or resources.cpu_quota_us:
        wanted.append(("cpu", "cpu.max", _cpu_max(resources)))
    if resources.cpuset_cpus:
        wanted.append(("cpuset", "cpuset.cpus", resources.cpuset_cpus))
    if resources.cpuset_mems:
        wanted.append(("cpuset", "cpuset.mems", resources.cpuset_mems))
    if resources.pids_limit:
        wanted.append(("pids", "pids.max", "max" if resources.pids_limit < 0 else str(resources.pids_limit)))
    if resources.blkio_weight:
        wanted.append(("io", "io.weight", f"default {1 + (resources.blkio_weight - 10) * 9999 // 990}"))
    found = numbers or {}
    wanted += [
        ("io", "io.max", f"{found.get(limit.device, limit.device)} {limit.limit}={limit.rate or 'max'}")
        for limit in resources.blkio
    ]
    for pages in resources.hugepages:
        # The first limits what is used, by a signal; the second what is reserved, by an error of mmap(2) (cgroup-v2, "HugeTLB").
        wanted += [("hugetlb", f"hugetlb.{pages.page_size}.{kind}", str(pages.bytes)) for kind in ("max", "rsvd.max")]
    wanted += [("rdma", "rdma.max", _rdma_max(limit)) for limit in resources.rdma]
    return tuple(wanted)


def _rdma_max(limit: RdmaLimit) -> str:
    counts = (("hca_handle", limit.handles), ("hca_object", limit.objects))
    return " ".join([limit.device, *(f"{name}={'max' if count is None else count}" for name, count in counts)])


def unlimited(file: str, value: str) -> str:
    """What takes back a limit that was written to ``file``."""
    if file == "io.max":
        device, _, limit = value.partition(" ")
        return f"{device} {limit.partition('=')[0]}=max"
    if file == "rdma.max":
        return f"{value.partition(' ')[0]} hca_handle=max hca_object=max"
    return {"cpu.weight": "100", "io.weight": "default 100", "memory.low": "0"}.get(file, "" if "cpuset" in file else "max")


def _swap(resources: Resources) -> str:
    """Docker counts memory and swap together, and gives as much swap as memory when nothing is said; -1 is no limit."""
    if resources.memory_swap_bytes < 0:
        return "max"
    total = resources.memory_swap_bytes or 2 * resources.memory_bytes
    return str(max(total - resources.memory_bytes, 0))


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1–10000) of cpu.shares (2–262144), with the formula that OCI runtimes use."""
    return 1 + ((min(max(shares, 2), 262_144) - 2) * 9999) // 262_142


def _cpu_max(resources: Resources) -> str:
    if resources.nano_cpus:
        return f"{max(resources.nano_cpus * _PERIOD_US // 1_000_000_000, 1000)} {_PERIOD_US}"
    quota = str(resources.cpu_quota_us) if resources.cpu_quota_us > 0 else "max"
    return f"{quota} {resources.cpu_period_us or _PERIOD_US}"


def check(resources: Resources, host: HostFacts) -> None:
    """Raises `Rejected` when a limit needs a controller that this host cannot give."""
    if resources.memory_swap_bytes and not host.swap_accounting:
        raise Rejected(Unsupported("cannot set memory.swap.max as asked: this kernel does not account for swap"))
    if resources.oom_kill_disable:
        raise Rejected(Unsupported("cannot disable the OOM killer: cgroup v2 has no such setting"))
    for controller, file, _ in settings(resources, host):
        if controller in host.controllers:
            continue
        if controller in host.cgroup_v1_controllers:
            reason = f"the {controller} controller is bound to cgroup v1; boot with systemd.unified_cgroup_hierarchy=1"
        else:
            reason = f"the kernel offers no {controller} controller in {host.cgroup_root or 'a cgroup2 hierarchy'}"
        raise Rejected(Unsupported(f"cannot set {file} as asked: {reason}"))
    _check_present(resources, host)


def _check_present(resources: Resources, host: HostFacts) -> None:
    """What the limits name must be there: the kernel has no file for a page size that it has not."""
    for pages in resources.hugepages:
        if pages.page_size not in host.huge_page_sizes:
            there = f"it has {', '.join(host.huge_page_sizes)}" if host.huge_page_sizes else "it has none"
            text = f"cannot set hugetlb.{pages.page_size}.max as asked: this host has no huge pages of that size: {there}"
            raise Rejected(Unsupported(text))
    for limit in resources.rdma:
        if limit.device not in host.rdma_devices:
            there = f"it has {', '.join(host.rdma_devices)}" if host.rdma_devices else "it has none"
            text = f"cannot set rdma.max as asked: this host has no RDMA device {limit.device}: {there}"
            raise Rejected(Unsupported(text))


def prepare(
    path: str, resources: Resources, host: HostFacts, numbers: Mapping[str, str] | None = None
) -> tuple[op.AnyOperation, ...]:
    """The operations that make and limit the cgroup at ``path``; nothing without a cgroup2 hierarchy."""
    if not path:
        return ()
    wanted = settings(resources, host, numbers)
    if not resources.pids_limit and "pids" in host.controllers:
        wanted = (*wanted, ("pids", "pids.max", str(DEFAULT_PIDS)))
    counted: list[str] = [name for name in ("cpu", "memory", "pids", "io", "cpuset") if name in host.controllers]
    counted += dict.fromkeys(name for name, _, _ in wanted if name in ("hugetlb", "rdma"))
    writes = tuple(op.WriteCgroup(path, file, value) for _, file, value in wanted)
    return (op.CreateCgroup(path, tuple(counted)), *writes)

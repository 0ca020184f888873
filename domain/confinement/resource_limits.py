"""Limits as they are asked for: which numbers make sense at all, in Docker's words (moby, daemon/daemon_unix.go).

Whether this host can apply them is `docket.domain.plan.cgroup.check`'s question.
"""

from __future__ import annotations

from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.model.container.spec import Resources
from docket.domain.ports import HostFacts

_LEAST_MEMORY = 6 << 20
_LARGEST_CPU_SET = 8192


def check_resources(resources: Resources, host: HostFacts) -> None:
    """Raises `Rejected` for the first limit that makes no sense."""
    _check_memory(resources)
    _check_cpu(resources, host)
    _check_sets(resources, host)
    _check_io(resources)
    _check_hugepages(resources)
    _check_rdma(resources)
    if resources.pids_limit < -1:
        raise _invalid(f"invalid pids limit: {resources.pids_limit}")


def _check_memory(resources: Resources) -> None:
    memory, swap, low = resources.memory_bytes, resources.memory_swap_bytes, resources.memory_reservation_bytes
    if memory and memory < _LEAST_MEMORY:
        raise _invalid("Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise _invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        raise _invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if swap < -1:
        raise _invalid(f"invalid memory swap limit: {swap}")
    if low and low < _LEAST_MEMORY:
        raise _invalid("Minimum memory reservation allowed is 6MB")
    if memory and low > memory:
        raise _invalid("Minimum memory limit can not be less than memory reservation limit, see usage")


def _check_cpu(resources: Resources, host: HostFacts) -> None:
    nano, period, quota = resources.nano_cpus, resources.cpu_period_us, resources.cpu_quota_us
    if nano and period:
        raise _invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
    if nano and quota:
        raise _invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set.")
    if nano < 0 or nano > host.cpus * 1_000_000_000:
        raise _invalid(f"range of CPUs is from 0.01 to {host.cpus}.00, as there are only {host.cpus} CPUs available")
    if resources.cpu_shares < 0:
        raise _invalid(f"invalid CPU shares ({resources.cpu_shares}): value must be a positive integer")
    if period and not 1000 <= period <= 1_000_000:
        raise _invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if quota > 0 and quota < 1000:
        raise _invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if quota < -1:
        raise _invalid(f"invalid CPU cfs quota: {quota}")


def _check_sets(resources: Resources, host: HostFacts) -> None:
    for name, text in (("cpus", resources.cpuset_cpus), ("mems", resources.cpuset_mems)):
        if text and cpu_set(text) is None:
            raise _invalid(f"Invalid value {text[:60]} for cpuset {name}")
    asked = cpu_set(resources.cpuset_cpus) or frozenset()
    if asked and max(asked) >= host.possible_cpus:
        available = f"0-{host.possible_cpus - 1}" if host.possible_cpus > 1 else "0"
        raise _invalid(f"Requested CPUs are not available - requested {resources.cpuset_cpus}, available: {available}")


def cpu_set(text: str) -> frozenset[int] | None:
    """The numbers of ``0-2,5``; None when it is no such list (cpuset(7), "List format")."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() and len(end) <= 4 for end in ends):
            return None
        low, high = int(ends[0]), int(ends[1])
        if low > high or high >= _LARGEST_CPU_SET:
            return None
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def _check_io(resources: Resources) -> None:
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise _invalid("Range of blkio weight is from 10 to 1000")
    for limit in resources.blkio:
        if not limit.device.startswith("/") or limit.rate < 0:
            raise _invalid(f"invalid blkio limit: {limit.device}:{limit.rate}")


def _check_hugepages(resources: Resources) -> None:
    """Sizes as the OCI runtime specification spells them (config-linux.md, "Huge page limits")."""
    for limit in resources.hugepages:
        shown = ascii(limit.page_size[:20])[1:-1]
        number, unit = limit.page_size[:-2], limit.page_size[-2:]
        plain = number.isascii() and number.isdigit() and not number.startswith("0") and len(number) <= 4
        if not plain or unit not in ("KB", "MB", "GB"):
            raise _invalid(f"invalid huge page size {shown}: a number and KB, MB or GB is expected, such as 2MB")
        if limit.bytes < 0:
            raise _invalid(f"invalid limit of huge pages of {shown}: {limit.bytes}")
    if len({limit.page_size for limit in resources.hugepages}) < len(resources.hugepages):
        raise _invalid("invalid huge page limits: each page size can be limited once")


def _check_rdma(resources: Resources) -> None:
    for limit in resources.rdma:
        name = limit.device
        plain = name.isascii() and name.isprintable() and not set(name) & set(" /=") and name not in (".", "..")
        if not 0 < len(name) < 64 or not plain:
            raise _invalid(f"invalid RDMA device {ascii(name[:60])[1:-1]}: a name such as mlx5_0 is expected")
        counts = [count for count in (limit.handles, limit.objects) if count is not None]
        if not counts or not all(0 <= count < 1 << 31 for count in counts):
            raise _invalid(f"invalid limit of the RDMA device {name}: hcaHandles, hcaObjects or both are expected, from 0 on")


def _invalid(text: str) -> Rejected:
    return Rejected(InvalidArgument(text))

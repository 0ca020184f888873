"""What the host is: read from /proc and /sys when the engine starts."""

from __future__ import annotations

import os
import stat

from docket.domain.ports import HostDevice, HostFacts
from docket.kernel.linux.sampling import read_text


def host_facts() -> HostFacts:
    """Read the facts once."""
    name = os.uname()
    memory = _table("/proc/meminfo")
    root = cgroup_root()
    controllers = tuple(read_text(f"{root}/cgroup.controllers").split()) if root else ()
    return HostFacts(
        boot_id=read_text("/proc/sys/kernel/random/boot_id").strip(),
        kernel_release=name.release,
        architecture=name.machine,
        hostname=name.nodename,
        operating_system=_os_name(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory.get("MemTotal", 0) * 1024,
        cgroup_root=root,
        controllers=controllers,
        capabilities=_bounding_set(),
        seccomp="errno" in read_text("/proc/sys/kernel/seccomp/actions_avail"),
        apparmor=read_text("/sys/module/apparmor/parameters/enabled").startswith("Y"),
        possible_cpus=_possible_cpus(),
        apparmor_default="\ndocker-default (" in "\n" + read_text("/sys/kernel/security/apparmor/profiles"),
        time_namespaces=os.path.exists("/proc/self/ns/time"),
        swap_bytes=memory.get("SwapTotal", 0) * 1024,
        swap_accounting=os.path.exists("/proc/swaps"),
        cgroup_v1_controllers=_v1_controllers(),
        huge_page_sizes=_huge_page_sizes(),
        rdma_devices=_names("/sys/class/infiniband"),
    )


def cgroup_root() -> str:
    """The mount point of the cgroup2 hierarchy; empty when none is mounted."""
    for line in read_text("/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return fields.split()[4]
    return ""


def _table(path: str) -> dict[str, int]:
    rows = {}
    for line in read_text(path).splitlines():
        key, _, value = line.partition(":")
        rows[key] = int(value.split()[0])
    return rows


def _os_name() -> str:
    for line in read_text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _bounding_set() -> int:
    for line in read_text("/proc/self/status").splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def _possible_cpus() -> int:
    last = read_text("/sys/devices/system/cpu/possible").strip().replace(",", "-").rpartition("-")[2]
    return int(last) + 1 if last else 1


def _v1_controllers() -> tuple[str, ...]:
    names = []
    for line in read_text("/proc/cgroups").splitlines():
        fields = line.split()
        if not line.startswith("#") and len(fields) == 4 and fields[1] != "0":
            names.append("io" if fields[0] == "blkio" else fields[0])
    return tuple(names)


def _names(path: str) -> tuple[str, ...]:
    return tuple(sorted(os.listdir(path))) if os.path.isdir(path) else ()


def _huge_page_sizes() -> tuple[str, ...]:
    """``hugepages-2048kB`` is 2MB for hugetlb's files (mm/hugetlb_cgroup.c, mem_fmt)."""
    sizes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in _names("/sys/kernel/mm/hugepages"))
    units = ((1 << 20, "GB"), (1 << 10, "MB"), (1, "KB"))
    return tuple(next(f"{size // unit}{name}" for unit, name in units if size >= unit) for size in sizes)


def devices(path: str) -> tuple[HostDevice, ...]:
    """The device nodes at or below a path."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    if not stat.S_ISDIR(status.st_mode):
        return _device(path, status)
    found: list[HostDevice] = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            found += devices(entry.path)
        else:
            found += _device(entry.path, entry.stat(follow_symlinks=False))
    return tuple(found)


def _device(path: str, status: os.stat_result) -> tuple[HostDevice, ...]:
    kind = "b" if stat.S_ISBLK(status.st_mode) else "c" if stat.S_ISCHR(status.st_mode) else ""
    if not kind:
        return ()
    number = status.st_rdev
    return (HostDevice(path, kind, os.major(number), os.minor(number), stat.S_IMODE(status.st_mode)),)

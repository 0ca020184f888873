"""The filesystems that the kernel makes itself: proc, sysfs, devpts, mqueue, cgroup2 and tmpfs, as far as plans and tests look.

A file of proc is computed for the process that reads it. What docket masks or makes read-only is there to be masked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from docket.kernel.fake.filesystem import Directory, File, Inode, Link, Node, directory_at, seed
from docket.kernel.fake.linux_errno import EINVAL, ENODEV, CallFailed
from docket.kernel.fake.processes import INFINITY, Namespace, Process, Processes

_LIMITS = {
    "CPU": ("Max cpu time", "seconds"),
    "FSIZE": ("Max file size", "bytes"),
    "DATA": ("Max data size", "bytes"),
    "STACK": ("Max stack size", "bytes"),
    "CORE": ("Max core file size", "bytes"),
    "RSS": ("Max resident set", "bytes"),
    "NPROC": ("Max processes", "processes"),
    "NOFILE": ("Max open files", "files"),
    "MEMLOCK": ("Max locked memory", "bytes"),
    "AS": ("Max address space", "bytes"),
    "LOCKS": ("Max file locks", "locks"),
    "SIGPENDING": ("Max pending signals", "signals"),
    "MSGQUEUE": ("Max msgqueue size", "bytes"),
    "NICE": ("Max nice priority", ""),
    "RTPRIO": ("Max realtime priority", ""),
    "RTTIME": ("Max realtime timeout", "us"),
}
SYSCTLS = {
    "kernel.msgmax": "8192",
    "kernel.shmmax": "18446744073692774399",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_unprivileged_port_start": "1024",
    "net.ipv4.ping_group_range": "1\t0",
    "net.core.somaxconn": "4096",
}
"""The namespaced sysctls of the model, with their first values."""


def make(fstype: str, data: str, process: Process, processes: Processes) -> Directory:
    """The root of a new filesystem. Raises `CallFailed` ENODEV or EINVAL, as mount(2) does."""
    makers: dict[str, Callable[[], Directory]] = {
        "tmpfs": lambda: Directory(_tmpfs_mode(data)),
        "proc": lambda: _Proc(process.namespaces["pid"], processes),
        "sysfs": _sysfs,
        "devpts": lambda: Directory(0o755, entries={"ptmx": Node(0o666, kind="c", major=5, minor=2)}),
        "mqueue": lambda: Directory(0o1777),
        "cgroup2": lambda: Directory(0o555, entries={"cgroup.procs": File(0o644), "cgroup.controllers": File(0o444)}),
    }
    if fstype not in makers:
        raise CallFailed("mount", ENODEV, fstype)
    return makers[fstype]()


def _tmpfs_mode(data: str) -> int:
    mode = 0o1777
    for option in filter(None, data.split(",")):
        name, _, value = option.partition("=")
        if name not in ("mode", "size", "nr_inodes", "uid", "gid") or not value:
            raise CallFailed("mount", EINVAL, "tmpfs")
        if name == "mode":
            mode = int(value, 8)
    return mode


def _sysfs() -> Directory:
    root = Directory(0o555)
    for path in ("firmware", "fs/cgroup", "devices/virtual/powercap", "class/net", "kernel"):
        directory_at(root, path)
    return root


class _Proc(Directory):
    """The root of a procfs: fixed entries, ``self``, and a directory for each process of its pid namespace."""

    def __init__(self, pids: Namespace, processes: Processes) -> None:
        super().__init__(0o555)
        self._pids = pids
        self._processes = processes
        self._cache: dict[str, Directory] = {}
        for name in ("acpi", "asound", "bus", "fs", "irq", "scsi"):
            self.entries[name] = Directory(0o555)
        for name in (
            "interrupts",
            "kcore",
            "keys",
            "latency_stats",
            "sched_debug",
            "timer_list",
            "timer_stats",
            "sysrq-trigger",
        ):
            self.entries[name] = File(0o444, f"{name} of the host\n".encode())
        self.entries["mounts"] = Link(0o777, target="self/mounts")
        self.entries["self"] = _process_directory(_reader)
        self.entries["sys"] = _sysctl_tree()

    def names(self) -> list[str]:
        mine = [process for process in self._processes.living() if process.namespaces["pid"] is self._pids]
        return sorted([*self.entries, *(str(process.inner_pid) for process in mine)])

    def lookup(self, name: str) -> Inode | None:
        if not name.isdigit():
            return super().lookup(name)
        for process in self._processes.living():
            if process.namespaces["pid"] is self._pids and str(process.inner_pid) == name:
                return self._cache.setdefault(f"{process.pid}", _process_directory(partial(_always, process)))
        return None


def _always(process: Process, reader: object) -> Process:
    return process


def _computed(text: Callable[[Process], str], of: Callable[[object], Process], reader: object) -> bytes:
    return text(of(reader)).encode()


def _reader(reader: object) -> Process:
    assert isinstance(reader, Process)
    return reader


def _process_directory(of: Callable[[object], Process]) -> Directory:
    directory = Directory(0o555)
    contents: dict[str, Callable[[Process], str]] = {
        "status": status,
        "limits": limits,
        "mounts": mounts,
        "comm": lambda process: (process.args[0].rpartition("/")[2][:15] if process.args else "") + "\n",
        "cmdline": lambda process: "".join(f"{argument}\0" for argument in process.args),
        "uid_map": lambda process: _id_map(process, 0),
        "gid_map": lambda process: _id_map(process, 1),
        "attr/current": lambda process: f"{process.apparmor} (enforce)\n" if process.apparmor else "unconfined\n",
        "oom_score_adj": lambda process: f"{process.oom_score_adj}\n",
    }
    for name, text in contents.items():
        seed(directory, {name: File(0o444, read=partial(_computed, text, of))})
    return directory


def _id_map(process: Process, which: int) -> str:
    maps = process.namespaces["user"].id_maps
    if not maps and process.namespaces["user"].parent is None:
        return f"{0:>10} {0:>10} {(1 << 32) - 1:>10}\n"
    return "".join(f"{line.inside:>10} {line.outside:>10} {line.count:>10}\n" for line in (maps[which] if maps else ()))


def status(process: Process) -> str:
    """The lines of /proc/pid/status that tell about credentials and confinement."""
    sets = process.capabilities
    groups = " ".join(str(group) for group in sorted(process.groups))
    return (
        f"Name:\t{process.args[0].rpartition('/')[2] if process.args else ''}\n"
        f"Umask:\t{process.umask:04o}\n"
        f"Pid:\t{process.inner_pid}\n"
        f"Uid:\t{process.uid}\t{process.uid}\t{process.uid}\t{process.uid}\n"
        f"Gid:\t{process.gid}\t{process.gid}\t{process.gid}\t{process.gid}\n"
        f"Groups:\t{groups} \n"
        f"CapInh:\t{sets.inheritable:016x}\n"
        f"CapPrm:\t{sets.permitted:016x}\n"
        f"CapEff:\t{sets.effective:016x}\n"
        f"CapBnd:\t{sets.bounding:016x}\n"
        f"CapAmb:\t{sets.ambient:016x}\n"
        f"NoNewPrivs:\t{int(process.no_new_privileges)}\n"
        f"Seccomp:\t{2 if process.seccomp else 0}\n"
    )


def limits(process: Process) -> str:
    """/proc/pid/limits."""
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}"]
    for name, (title, unit) in _LIMITS.items():
        soft, hard = ("unlimited" if value == INFINITY else str(value) for value in process.rlimits[name])
        lines.append(f"{title:<25} {soft:<20} {hard:<20} {unit:<10}")
    return "\n".join(lines) + "\n"


def mounts(process: Process) -> str:
    """/proc/pid/mounts, as seen from the process's root."""
    lines = []
    for mount in process.mounts.mounts:
        path = "/" + "/".join(place.name for place in mount.location[1:])
        options = ",".join(["ro" if mount.readonly else "rw", *sorted(flag.lower() for flag in mount.flags)])
        lines.append(f"{mount.source or mount.fstype} {path} {mount.fstype} {options} 0 0\n")
    return "".join(lines)


def _namespace_of(process: Process, name: str) -> Namespace:
    return process.namespaces["net" if name.startswith("net.") else "uts" if "name" in name else "ipc"]


def _sysctl_tree() -> Directory:
    tree = Directory(0o555)
    for name, default in SYSCTLS.items():

        def read(reader: object, name: str = name, default: str = default) -> bytes:
            return f"{_namespace_of(_reader(reader), name).sysctls.get(name, default)}\n".encode()

        def write(writer: object, content: bytes, name: str = name) -> None:
            _namespace_of(_reader(writer), name).sysctls[name] = content.decode().strip()

        seed(tree, {name.replace(".", "/"): File(0o644, read=read, write=write)})
    hostname = File(0o644, read=lambda reader: f"{_reader(reader).namespaces['uts'].hostname}\n".encode())
    seed(tree, {"kernel/hostname": hostname})
    return tree

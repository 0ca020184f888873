"""The cgroup2 hierarchy: groups, controllers, interface files, and what the kernel refuses to do with them.

Rules from cgroup-v2.rst: controllers are enabled top-down and never in a group that has processes of its own ("no internal
processes"); a group that has processes or children cannot be removed; killing and freezing reach the whole subtree. Error
numbers are the ones that Linux 6.18 answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from docket.kernel.fake.linux_errno import EBUSY, EEXIST, EINVAL, ENOENT, ENOTDIR, ERANGE, ESRCH, CallFailed

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb", "rdma")
"""The controllers that the model knows and, unless told otherwise, has."""

_CORE_FILES = {
    "cgroup.type": "domain",
    "cgroup.max.depth": "max",
    "cgroup.max.descendants": "max",
    "cgroup.freeze": "0",
    "cgroup.kill": "",
    "cgroup.procs": "",
    "cgroup.subtree_control": "",
    "cgroup.controllers": "",
    "cgroup.events": "",
    "cgroup.stat": "",
}
_READ_ONLY = frozenset(
    {"cgroup.controllers", "cgroup.events", "cgroup.stat", "memory.current", "pids.current", "memory.events"}
)
_CONTROLLER_FILES = {
    "cpu": {"cpu.weight": "100", "cpu.max": "max 100000", "cpu.stat": "usage_usec 0"},
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
    "io": {"io.weight": "default 100", "io.max": "", "io.stat": ""},
    "memory": {
        "memory.current": "0",
        "memory.events": "oom_kill 0",
        "memory.high": "max",
        "memory.low": "0",
        "memory.max": "max",
        "memory.oom.group": "0",
        "memory.swap.max": "max",
    },
    "pids": {"pids.max": "max", "pids.current": "0"},
    "hugetlb": {"hugetlb.2MB.max": "max", "hugetlb.2MB.rsvd.max": "max", "hugetlb.2MB.current": "0"},
    "rdma": {"rdma.max": "", "rdma.current": ""},
}
_NUMBERS = frozenset(
    {
        "pids.max",
        "memory.max",
        "memory.high",
        "memory.low",
        "memory.swap.max",
        "cpu.weight",
        "hugetlb.2MB.max",
        "hugetlb.2MB.rsvd.max",
    }
)


THREADED = frozenset({"cpu", "cpuset", "pids"})
"""Threaded controllers do not forbid internal processes; domain controllers (memory, io) do (cgroup-v2, "Threads")."""


@dataclass(eq=False)
class Cgroup:
    """One group. ``members`` are the pids of its own processes."""

    path: str
    parent: Cgroup | None
    children: dict[str, Cgroup] = field(default_factory=dict)
    subtree_control: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    members: set[int] = field(default_factory=set)
    device_program: str = ""
    scope: bool = False
    """systemd's: it goes when its last process has ended."""
    made_as_parent: bool = False
    """Made on the way to another one; the engine's own groups stay, and are no leak."""

    def subtree(self) -> Iterator[Cgroup]:
        """The group and all below it, children before their parents."""
        for child in list(self.children.values()):
            yield from child.subtree()
        yield self

    @property
    def populated(self) -> bool:
        """Whether a process lives in the group or below it."""
        return any(group.members for group in self.subtree())

    @property
    def frozen(self) -> bool:
        """Whether the group or one above it is frozen."""
        return self.files.get("cgroup.freeze") == "1" or (self.parent is not None and self.parent.frozen)


class Cgroups:
    """A cgroup2 hierarchy mounted at ``mount_point``, whose root offers ``controllers``."""

    def __init__(self, mount_point: str = "/sys/fs/cgroup", controllers: tuple[str, ...] = CONTROLLERS) -> None:
        self.mount_point = mount_point
        self.controllers = controllers
        self.root = Cgroup(mount_point, None)

    def find(self, path: str, syscall: str = "open") -> Cgroup:
        """The group at a path. Raises `CallFailed` ENOENT."""
        group = self.root
        for name in self._names(path, syscall):
            if name not in group.children:
                raise CallFailed(syscall, ENOENT, path)
            group = group.children[name]
        return group

    def exists(self, path: str) -> bool:
        """Whether there is a group at a path."""
        try:
            self.find(path)
        except CallFailed:
            return False
        return True

    def create(self, path: str, controllers: tuple[str, ...]) -> Cgroup:
        """Make a group and the missing ones above it, enabling ``controllers`` on the way; an existing one is kept."""
        group = self.root
        names = self._names(path, "mkdir")
        for index, name in enumerate(names):
            enabled = [controller for controller in controllers if controller not in group.subtree_control]
            if enabled:
                self._control(group, " ".join(f"+{controller}" for controller in enabled))
            if name not in group.children:
                made = Cgroup(f"{group.path}/{name}", group, made_as_parent=index < len(names) - 1)
                group.children[name] = made
            group = group.children[name]
        return group

    def start_scope(self, path: str, pid: int) -> None:
        """systemd's StartTransientUnit: a scope for a process, which goes into its group ``shim``. Raises `CallFailed` EEXIST."""
        if self.exists(path):
            raise CallFailed(f"systemd did not start {path.rpartition('/')[2]}: it exists", EEXIST)
        self.create(path, self.controllers).scope = True
        self.mkdir(f"{path}/shim")
        self.join(f"{path}/shim", pid)

    def mkdir(self, path: str) -> Cgroup:
        """mkdir(2). Raises `CallFailed` EEXIST or ENOENT."""
        parent, _, name = path.rpartition("/")
        group = self.find(parent, "mkdir")
        if name in group.children:
            raise CallFailed("mkdir", EEXIST, path)
        group.children[name] = Cgroup(path, group)
        return group.children[name]

    def rmdir(self, path: str) -> None:
        """rmdir(2). Raises `CallFailed` ENOENT, or EBUSY while the group has processes or children."""
        group = self.find(path, "rmdir")
        if group.members or group.children or group.parent is None:
            raise CallFailed("rmdir", EBUSY, path)
        del group.parent.children[path.rpartition("/")[2]]

    def available(self, group: Cgroup) -> set[str]:
        """What cgroup.controllers lists: the controllers that the parent enabled for its children."""
        return set(self.controllers) if group.parent is None else group.parent.subtree_control

    def read(self, path: str, file: str) -> str:
        """The content of an interface file. Raises `CallFailed` ENOENT."""
        group = self.find(path)
        default = self._default(group, file, path)
        computed = {
            "cgroup.controllers": lambda: " ".join(sorted(self.available(group))),
            "cgroup.subtree_control": lambda: " ".join(sorted(group.subtree_control)),
            "cgroup.procs": lambda: "\n".join(str(pid) for pid in sorted(group.members)),
            "cgroup.events": lambda: f"populated {int(group.populated)}\nfrozen {int(group.frozen)}",
            "pids.current": lambda: str(sum(len(below.members) for below in group.subtree())),
        }
        return computed[file]() if file in computed else group.files.get(file, default)

    def write(self, path: str, file: str, value: str) -> Cgroup:
        """Write an interface file; the effects on processes are the kernel's. Raises `CallFailed` ENOENT, EINVAL, ERANGE, EBUSY."""
        group = self.find(path)
        self._default(group, file, path)
        target = f"{path}/{file}"
        if file in _READ_ONLY or (file == "cgroup.type" and value.strip() != "threaded"):
            raise CallFailed("write", EINVAL, target)
        if file == "cgroup.subtree_control":
            self._control(group, value)
        elif file in ("cgroup.freeze", "cgroup.kill"):
            allowed = ("0", "1") if file == "cgroup.freeze" else ("1",)
            if value.strip() not in allowed:
                raise CallFailed("write", ERANGE if value.strip().lstrip("-").isdigit() else EINVAL, target)
            group.files[file] = value.strip()
        elif file in _NUMBERS and value.strip() != "max" and not value.strip().isdigit():
            raise CallFailed("write", EINVAL, target)
        elif file == "cpu.weight" and not 1 <= int(value) <= 10_000:
            raise CallFailed("write", ERANGE, target)
        else:
            group.files[file] = value.strip()
        return group

    def join(self, path: str, pid: int) -> None:
        """Put a process into a group. Raises `CallFailed` EBUSY when the group has domain controllers enabled for children."""
        group = self.find(path)
        if set(group.subtree_control) - THREADED and group.parent is not None:
            raise CallFailed("write", EBUSY, f"{path}/cgroup.procs")
        if pid <= 0:
            raise CallFailed("write", ESRCH, f"{path}/cgroup.procs")
        for other in self.root.subtree():
            other.members.discard(pid)
        group.members.add(pid)

    def leave(self, pid: int) -> None:
        """A process ended."""
        for group in list(self.root.subtree()):
            group.members.discard(pid)
            if group.scope and group.parent is not None and not group.populated:
                del group.parent.children[group.path.rpartition("/")[2]]

    def _control(self, group: Cgroup, value: str) -> None:
        target = f"{group.path}/cgroup.subtree_control"
        for word in value.split():
            sign, name = word[0], word[1:]
            if sign not in "+-" or name not in CONTROLLERS:
                raise CallFailed("write", EINVAL, target)
            if sign == "+" and name not in self.available(group):
                raise CallFailed("write", ENOENT, target)
            if sign == "+" and name not in THREADED and group.parent is not None and group.members:
                raise CallFailed("write", EBUSY, target)
            if sign == "-" and any(name in child.subtree_control for child in group.children.values()):
                raise CallFailed("write", EBUSY, target)
        for word in value.split():
            (group.subtree_control.add if word[0] == "+" else group.subtree_control.discard)(word[1:])

    def _default(self, group: Cgroup, file: str, path: str) -> str:
        """What an interface file holds at first. Raises `CallFailed` ENOENT for one that the group has not."""
        if file in _CORE_FILES and not (group.parent is None and file in ("cgroup.type", "cgroup.freeze", "cgroup.kill")):
            return _CORE_FILES[file]
        for controller in self.available(group) if group.parent is not None else ():
            if file in _CONTROLLER_FILES[controller]:
                return _CONTROLLER_FILES[controller][file]
        raise CallFailed("open", ENOENT, f"{path}/{file}")

    def _names(self, path: str, syscall: str) -> list[str]:
        """The names from the root down to a path. Raises `CallFailed` ENOTDIR for a path that is outside of the hierarchy."""
        if path != self.mount_point and not path.startswith(self.mount_point + "/"):
            raise CallFailed(syscall, ENOTDIR, path)
        return [name for name in path.removeprefix(self.mount_point).split("/") if name]

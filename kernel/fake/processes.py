"""Processes, their namespaces and credentials, and what signals do to them.

Rules of signal(7), pid_namespaces(7) and capabilities(7): the first process of a pid namespace ignores every signal that it has
no handler for, but for SIGKILL and SIGSTOP from outside; when it ends, the namespace's other processes are killed; a frozen or
stopped process gets no signal but SIGKILL until it goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from docket.domain.confinement.id_maps import IdMapping
from docket.kernel.fake.linux_errno import EAGAIN, EINVAL, ESRCH, CallFailed
from docket.kernel.fake.mounts import Location, MountNamespace

SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP = 1, 2, 9, 15, 17, 18, 19
SIGWINCH = 28
_IGNORED = frozenset({SIGCHLD, SIGCONT, 23, SIGWINCH})
_STOPPING = frozenset({SIGSTOP, 20, 21, 22})
_LAST_SIGNAL = 64
NAMESPACES = ("mount", "pid", "uts", "ipc", "net", "cgroup", "time", "user")
ALL_CAPABILITIES = (1 << 41) - 1
INFINITY = -1
RLIMITS = {
    "CPU": (INFINITY, INFINITY),
    "FSIZE": (INFINITY, INFINITY),
    "DATA": (INFINITY, INFINITY),
    "STACK": (8_388_608, INFINITY),
    "CORE": (0, INFINITY),
    "RSS": (INFINITY, INFINITY),
    "NPROC": (63_000, 63_000),
    "NOFILE": (1024, 1_048_576),
    "MEMLOCK": (8_388_608, 8_388_608),
    "AS": (INFINITY, INFINITY),
    "LOCKS": (INFINITY, INFINITY),
    "SIGPENDING": (63_000, 63_000),
    "MSGQUEUE": (819_200, 819_200),
    "NICE": (0, 0),
    "RTPRIO": (0, 0),
    "RTTIME": (INFINITY, INFINITY),
}


@dataclass(eq=False)
class Namespace:
    """One namespace; the fields that count depend on ``kind``."""

    kind: str
    number: int
    hostname: str = ""
    domainname: str = "(none)"
    links: dict[str, bool] = field(default_factory=lambda: {"lo": False})
    sysctls: dict[str, str] = field(default_factory=dict)
    mounts: MountNamespace | None = None
    parent: Namespace | None = None
    init: int = 0
    """Of a pid namespace: the host's pid of its first process."""
    last_pid: int = 0
    id_maps: tuple[tuple[IdMapping, ...], ...] = ()
    """Of a user namespace: the ones of users, and those of groups."""


@dataclass(eq=False)
class Capabilities:
    """The five capability sets, as masks."""

    effective: int = ALL_CAPABILITIES
    permitted: int = ALL_CAPABILITIES
    inheritable: int = 0
    bounding: int = ALL_CAPABILITIES
    ambient: int = 0


@dataclass(eq=False)
class Process:
    """One process. ``pid`` is the host's, ``inner_pid`` the one in its own pid namespace."""

    pid: int
    inner_pid: int
    parent: int
    start_time: int
    namespaces: dict[str, Namespace]
    root: Location
    cwd: Location
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    capabilities: Capabilities = field(default_factory=Capabilities)
    rlimits: dict[str, tuple[int, int]] = field(default_factory=lambda: dict(RLIMITS))
    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    apparmor_at_execve: str = ""
    dumpable: int = 1
    oom_score_adj: int = 0
    umask: int = 0o022
    session: bool = False
    keep_capabilities: bool = False
    parent_death_signal: int = 0
    cgroup: str = ""
    args: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    start_time_ns: int = 0
    exit_code: int | None = None
    stopped: bool = False
    below_init: bool = False
    """An init is the namespace's first process and hands signals on: the model runs both as one, with default actions."""
    handlers: dict[int, Callable[[int], None]] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    going: trio.Event = field(default_factory=trio.Event)
    """Set while the process is neither stopped nor frozen; replaced when it is held up."""

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.exit_code is None

    @property
    def mounts(self) -> MountNamespace:
        """Its mount namespace's table."""
        mounts = self.namespaces["mount"].mounts
        assert mounts is not None
        return mounts

    def execute(self, args: tuple[str, ...], environment: dict[str, str]) -> None:
        """What execve(2) does to credentials and handlers: another user than root keeps no capability."""
        self.args, self.environment = args, environment
        self.handlers.clear()
        self.apparmor = self.apparmor_at_execve or self.apparmor
        sets = self.capabilities
        if self.uid == 0:
            sets.permitted = sets.bounding | (sets.inheritable & sets.permitted)
            sets.effective = sets.permitted
        else:
            sets.permitted = sets.effective = sets.ambient


class Processes:
    """All processes of the model, by the host's pid. ``frozen`` tells whether a cgroup is."""

    def __init__(self, frozen: Callable[[str], bool], on_end: Callable[[Process], None]) -> None:
        self._frozen = frozen
        self._on_end = on_end
        self._next_pid = 100
        self._ticks = itertools.count(5000, 7)
        self._numbers = itertools.count(4026531835)
        self.table: dict[int, Process] = {}

    def namespace(self, kind: str, **fields: object) -> Namespace:
        """A new namespace of a kind."""
        return Namespace(kind, next(self._numbers), **fields)  # type: ignore[arg-type]

    def fork(self, parent: Process, namespaces: tuple[str, ...], time_ns: int, *, into: dict[str, Namespace]) -> Process:
        """clone3(2): a process that shares its parent's namespaces, or those of ``into``, but for the new ones named."""
        shared = {**parent.namespaces, **into}
        root, cwd = parent.root, parent.cwd
        for kind in namespaces:
            if kind not in NAMESPACES:
                raise CallFailed("clone3", EINVAL, kind)
            shared[kind], (root, cwd) = self.unshared(shared[kind], (root, cwd))
        pids = shared["pid"]
        if pids.init and not self.table[pids.init].alive:
            raise CallFailed("clone3", EAGAIN, "")
        pid = self.take_pid()
        inner = pid if pids.parent is None else pids.last_pid + 1
        pids.last_pid = inner
        process = Process(pid, inner, parent.pid, next(self._ticks), shared, root, cwd, start_time_ns=time_ns)
        if not pids.init:
            pids.init = pid
        for name in (
            "uid",
            "gid",
            "groups",
            "umask",
            "dumpable",
            "oom_score_adj",
            "no_new_privileges",
            "cgroup",
            "seccomp",
            "apparmor",
        ):
            setattr(process, name, getattr(parent, name))
        process.rlimits = dict(parent.rlimits)
        process.capabilities = Capabilities(**vars(parent.capabilities))
        process.going.set()
        self.table[pid] = process
        return process

    def unshared(self, old: Namespace, locations: tuple[Location, Location]) -> tuple[Namespace, tuple[Location, Location]]:
        """A new namespace in place of ``old``, and root and working directory as they are in it."""
        new = self.namespace(old.kind, hostname=old.hostname, domainname=old.domainname, sysctls=dict(old.sysctls))
        if old.kind in ("pid", "user"):
            new.parent = old
        if old.kind == "mount":
            assert old.mounts is not None
            new.mounts, (root, cwd) = old.mounts.copy(*locations)
            return new, (root, cwd)
        return new, locations

    def take_pid(self) -> int:
        """The next free pid."""
        self._next_pid += 1
        return self._next_pid

    def find(self, pid: int) -> Process:
        """A living process. Raises `CallFailed` ESRCH."""
        process = self.table.get(pid)
        if process is None or not process.alive:
            raise CallFailed("pidfd_open", ESRCH, str(pid))
        return process

    def living(self) -> list[Process]:
        """Every process that has not ended, by pid."""
        return [process for process in self.table.values() if process.alive]

    def signal(self, pid: int, signal: int) -> None:
        """Send a signal from outside of the process's pid namespace. Raises `CallFailed` ESRCH or EINVAL."""
        process = self.find(pid)
        if not 0 <= signal <= _LAST_SIGNAL:
            raise CallFailed("pidfd_send_signal", EINVAL, str(pid))
        if signal == 0:
            return
        if signal == SIGKILL:
            self.end(process, 128 + SIGKILL)
        elif signal == SIGCONT:
            process.stopped = False
            self.update(process)
        elif self._held(process):
            process.pending.append(signal)
        else:
            self._deliver(process, signal)

    def _deliver(self, process: Process, signal: int) -> None:
        if signal in process.handlers and signal != SIGSTOP:
            process.handlers[signal](signal)
            return
        first = process.namespaces["pid"].init == process.pid and process.namespaces["pid"].parent is not None
        protected = first and not process.below_init
        if signal in _IGNORED or (protected and signal != SIGSTOP):
            return
        if signal in _STOPPING:
            process.stopped = True
            self.update(process)
        else:
            self.end(process, 128 + signal)

    def _held(self, process: Process) -> bool:
        return process.stopped or self._frozen(process.cgroup)

    def update(self, process: Process) -> None:
        """Hold the process up, or let it go on and get its pending signals, as its state and its cgroup's say."""
        if self._held(process):
            if process.going.is_set():
                process.going = trio.Event()
            return
        process.going.set()
        pending, process.pending = process.pending, []
        for signal in pending:
            if process.alive:
                self._deliver(process, signal)

    def end(self, process: Process, code: int) -> None:
        """The process ends with an exit status (128 + signal when killed), and with it what cannot live without it."""
        if not process.alive:
            return
        process.exit_code = code
        process.scope.cancel()
        pids = process.namespaces["pid"]
        for other in self.living():
            if pids.init == process.pid and _inside(other.namespaces["pid"], pids):
                self.end(other, 128 + SIGKILL)
            elif other.parent == process.pid:
                other.parent = pids.init
        self._on_end(process)
        process.ended.set()


def _inside(namespace: Namespace | None, outer: Namespace) -> bool:
    while namespace is not None:
        if namespace is outer:
            return True
        namespace = namespace.parent
    return False

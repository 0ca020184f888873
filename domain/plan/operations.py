"""Kernel work as data: the typed operations that a plan is made of.

An operation says what is to be done, in the kernel's words, and nothing about how. It has value equality, a one-line
description (`describe`, shown by errors and failed tests) and, where its effect outlives the process that it was done for,
an undo. Exactly one function in each kernel performs each type; everybody else only builds and compares them.

Where an operation runs is told by its place in the `Plan`:

    prepare   by the shim, on the host, before the process exists; undone in reverse when the plan fails or the process ends
    process   the clone itself
    settle    by the shim, for the process, which waits for it
    inside    by the new process; the last one is `Execve`; gone with the process, so there is no undo

Paths of ``…InRoot`` operations, and of all operations behind `EnterRoot`, are names inside the container's root
filesystem. They are resolved beneath a descriptor of the root and never by name from the host (S4, S7). All other paths
are host paths.

`ResolveUser` has a result that later operations use by its name, so a plan can be built, printed and compared before it
has run. The environment and the arguments of an exec are not part of a plan: they may be secrets (S54), and are handed
over beside it.
"""

from __future__ import annotations

import msgspec

from docket.domain.confinement.id_maps import IdMapping

Namespace = str
"""One of ``mount pid uts ipc net cgroup time user``."""


class Operation(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One step of a plan."""

    def describe(self) -> str:
        """The operation as one line for people."""
        raise AssertionError(f"{type(self).__name__} has no description")

    def undo(self) -> Operation | None:
        """The operation that takes this one back; None when its effect ends with the process."""
        return None


# Host side: prepare and its undo.


class MakeDirectory(Operation, frozen=True):
    """Make a directory; one that is already there is kept, and then not undone.

    A ``lasting`` one belongs to the container or the user and not to this run: it stays. With ``parents`` those that are missing
    are made as well.
    """

    path: str
    mode: int = 0o710
    lasting: bool = False
    parents: bool = False
    uid: int = 0
    gid: int = 0

    def describe(self) -> str:
        return f"mkdir {self.path}"

    def undo(self) -> Operation | None:
        return None if self.lasting else RemoveDirectory(self.path)


class RemoveDirectory(Operation, frozen=True):
    path: str

    def describe(self) -> str:
        return f"rmdir {self.path}"


class WriteFile(Operation, frozen=True):
    """Write a small file that the engine generates, such as a container's ``/etc/hosts``."""

    path: str
    content: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0

    def describe(self) -> str:
        return f"write {self.path}"

    def undo(self) -> Operation:
        return Unlink(self.path)


class Unlink(Operation, frozen=True):
    path: str

    def describe(self) -> str:
        return f"unlink {self.path}"


class StartScope(Operation, frozen=True):
    """Have systemd make the scope ``unit`` below ``slice``, whose cgroup is ``path``, for the shim and what it starts.

    systemd leaves alone what is in it (``Delegate=yes``), and removes it when the last process in it has ended: there is no undo.
    """

    path: str
    unit: str
    slice: str

    def describe(self) -> str:
        return f"start {self.unit} in {self.slice}"


class CreateCgroup(Operation, frozen=True):
    """Make a cgroup and enable ``controllers`` on the way down to it. ``path`` is absolute, in the cgroup2 mount."""

    path: str
    controllers: tuple[str, ...] = ()

    def describe(self) -> str:
        return f"create cgroup {self.path}"

    def undo(self) -> Operation:
        return RemoveCgroup(self.path)


class RemoveCgroup(Operation, frozen=True):
    """Kill what is left in a cgroup and remove it."""

    path: str

    def describe(self) -> str:
        return f"remove cgroup {self.path}"


class WriteCgroup(Operation, frozen=True):
    """Write one interface file of a cgroup, such as ``memory.max``."""

    path: str
    file: str
    value: str

    def describe(self) -> str:
        return f"set {self.file} = {self.value} in {self.path}"


class AttachDeviceFilter(Operation, frozen=True):
    """Let a BPF program decide which devices the cgroup's processes use; ``program`` is the array of struct bpf_insn in base64."""

    path: str
    program: str

    def describe(self) -> str:
        return f"filter devices with {len(self.program) * 3 // 4 // 8} instructions in {self.path}"


class JoinNamespaces(Operation, frozen=True):
    """setns(2) into namespaces of a running process, which must still be the one that started at ``start_time`` (S15).

    In ``prepare`` only ``pid`` (and ``time``) make sense: they take effect for the processes cloned afterwards.
    """

    pid: int
    start_time: int
    namespaces: tuple[Namespace, ...]

    def describe(self) -> str:
        return f"join namespaces {' '.join(self.namespaces)} of process {self.pid}"


class JoinUsers(Operation, frozen=True):
    """Have the new process be in the user namespace of a running one, which must still be the one that started at ``start_time``.

    Its other new namespaces belong to that user namespace then, and no ids are mapped anew. In ``prepare`` only.
    """

    pid: int
    start_time: int

    def describe(self) -> str:
        return f"join the user namespace of process {self.pid}"


class HoldOverlay(Operation, frozen=True):
    """Make an overlay whose files belong to the mapped ids, and hold it for `AttachOverlay`; nothing becomes visible on the host.

    Its layers are id-mapped (mount_setattr(2), MOUNT_ATTR_IDMAP): on disk they stay owned as in the image. Needs Linux 5.19, and a
    filesystem below that can be mapped.
    """

    lowerdirs: tuple[str, ...]
    upperdir: str
    workdir: str
    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]

    def describe(self) -> str:
        count = len(self.lowerdirs)
        return f"hold an id-mapped overlay of {count} layer{'s' if count != 1 else ''}"


# The process.


class Clone(Operation, frozen=True):
    """clone3(2): a new process in new namespaces, inside ``cgroup`` from its first instruction."""

    namespaces: tuple[Namespace, ...] = ()
    cgroup: str = ""

    def describe(self) -> str:
        return f"clone {' '.join(self.namespaces) or 'without namespaces'}"


class WriteIdMaps(Operation, frozen=True):
    """Map the ids of the new process's user namespace."""

    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]

    def describe(self) -> str:
        return f"map {sum(m.count for m in self.uids)} uids and {sum(m.count for m in self.gids)} gids"


# Inside: the new process prepares itself.


class SetDumpable(Operation, frozen=True):
    """prctl(PR_SET_DUMPABLE): 0 keeps a container from tracing the process while it enters (S3)."""

    value: int = 0

    def describe(self) -> str:
        return f"set dumpable {self.value}"


class Setsid(Operation, frozen=True):
    def describe(self) -> str:
        return "start a session"


class Unshare(Operation, frozen=True):
    namespaces: tuple[Namespace, ...]

    def describe(self) -> str:
        return f"unshare {' '.join(self.namespaces)}"


class Mount(Operation, frozen=True):
    """mount(2) on a host path, in the process's own mount namespace. Flags are ``MS_*`` names without the prefix."""

    source: str
    target: str
    fstype: str
    flags: tuple[str, ...] = ()
    data: str = ""

    def describe(self) -> str:
        if not self.fstype:
            return f"set {' '.join(self.flags).lower()} on {self.target}"
        return f"mount {self.fstype} on {self.target}"


class HoldTree(Operation, frozen=True):
    """Clone the mounts of a host path (open_tree(2)) while they still are peers of the host's; `BindInRoot` attaches the clone.

    It comes before the namespace's mounts become slaves, and mounts nothing. ``propagation`` is what the bind will ask for: the
    host's mount must be a shared one for ``shared``, a shared or slave one for ``slave``. In ``prepare`` the host's rights open it:
    a process in a user namespace of its own would lack them.
    """

    source: str
    recursive: bool
    propagation: str

    def describe(self) -> str:
        return f"hold the mounts of {self.source}"


class HoldPeerTree(Operation, frozen=True):
    """Clone what is mounted at ``path`` in another process's mount namespace; `BindInRoot` attaches it by the name ``source``.

    The process must still be the one that started at ``start_time`` (S15). No link is followed there: its root is an image's.
    """

    pid: int
    start_time: int
    path: str

    @property
    def source(self) -> str:
        """What `BindInRoot` calls it: no host path looks like it."""
        return f"{self.pid}:{self.path}"

    def describe(self) -> str:
        return f"hold {self.path} of process {self.pid}"


class MountOverlay(Operation, frozen=True):
    """Mount an overlay; ``lowerdirs`` are top-most first. Without an ``upperdir`` it is read-only."""

    lowerdirs: tuple[str, ...]
    upperdir: str
    workdir: str
    target: str

    def describe(self) -> str:
        count = len(self.lowerdirs)
        return f"mount overlay of {count} layer{'s' if count != 1 else ''} on {self.target}"


class AttachOverlay(Operation, frozen=True):
    """Mount the overlay of `HoldOverlay`."""

    target: str

    def describe(self) -> str:
        return f"mount the held overlay on {self.target}"


class BecomeRoot(Operation, frozen=True):
    """setgroups, setresgid and setresuid to root of the process's user namespace, which ``uid`` and ``gid`` are on the host.

    Until then the process is the host's root without its rights: it may pass directories that belong to that root, and make no
    file. The standard streams belong to the mapped root from the beginning.
    """

    uid: int
    gid: int

    def describe(self) -> str:
        return f"become root of the user namespace, {self.uid}:{self.gid} on the host"


class EnterRoot(Operation, frozen=True):
    """Take ``path`` as the root filesystem that the following operations work in; nothing is resolved outside it any more."""

    path: str

    def describe(self) -> str:
        return f"take {self.path} as the root filesystem"


class MountInRoot(Operation, frozen=True):
    """Mount a filesystem inside the root; the mount point is made when missing."""

    fstype: str
    target: str
    flags: tuple[str, ...] = ()
    data: str = ""

    def describe(self) -> str:
        return f"mount {self.fstype} on {self.target} in the root"


class BindInRoot(Operation, frozen=True):
    """Bind a host path inside the root (open_tree(2), mount_setattr(2)); the mount point is made when missing.

    ``propagation`` is one of ``private rprivate slave rslave shared rshared``. A shared bind takes a held tree and must be the last
    one of its path: what is mounted on it appears on the host. ``readonly_recursive`` False leaves mounts below writable. Nothing
    but a few files may be bound inside a procfs (S6).
    """

    source: str
    target: str
    readonly: bool = False
    recursive: bool = True
    propagation: str = "rprivate"
    flags: tuple[str, ...] = ()
    readonly_recursive: bool = True

    def describe(self) -> str:
        return f"bind {self.source} on {self.target} in the root{' read-only' if self.readonly else ''}"


class MakeNodeInRoot(Operation, frozen=True):
    """Make a device node; ``kind`` is ``c`` or ``b``."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666

    def describe(self) -> str:
        return f"make device {self.path} {self.kind} {self.major}:{self.minor}"


class SymlinkInRoot(Operation, frozen=True):
    path: str
    target: str

    def describe(self) -> str:
        return f"link {self.path} to {self.target}"


class MakeDirectoryInRoot(Operation, frozen=True):
    """Make a directory and its missing parents, such as the working directory."""

    path: str
    mode: int = 0o755

    def describe(self) -> str:
        return f"make directory {self.path} in the root"


class OpenTerminal(Operation, frozen=True):
    """Open a pseudo-terminal of the root's own devpts, make it the controlling terminal and the standard streams.

    With ``console`` its slave is bound on /dev/console. The master goes to the shim.
    """

    rows: int = 0
    columns: int = 0
    console: bool = True

    def describe(self) -> str:
        return "open a terminal"


class ResolveUser(Operation, frozen=True):
    """Resolve a USER string and additional groups in the root's /etc/passwd and /etc/group; the result is named ``result``."""

    user: str
    groups: tuple[str, ...] = ()
    result: str = "user"

    def describe(self) -> str:
        return f"resolve user {self.user or 'root'!r}"


class SetLinkUp(Operation, frozen=True):
    name: str

    def describe(self) -> str:
        return f"set link {self.name} up"


class Sethostname(Operation, frozen=True):
    name: str

    def describe(self) -> str:
        return f"set hostname {self.name}"


class Setdomainname(Operation, frozen=True):
    name: str

    def describe(self) -> str:
        return f"set domainname {self.name}"


class WriteSysctl(Operation, frozen=True):
    """Set a namespaced sysctl, ``net.ipv4.ip_forward`` style, through the root's own procfs (S6)."""

    name: str
    value: str

    def describe(self) -> str:
        return f"set sysctl {self.name} = {self.value}"


class PivotRoot(Operation, frozen=True):
    """Make the entered root the root of the mount namespace and let go of the old one."""

    def describe(self) -> str:
        return "pivot into the root filesystem"


class MaskPath(Operation, frozen=True):
    """Hide a path: a directory under an empty read-only tmpfs, a file under /dev/null. A missing path needs no mask."""

    path: str

    def describe(self) -> str:
        return f"mask {self.path}"


class SetReadOnly(Operation, frozen=True):
    """Make the mount at ``path`` read-only, binding the path on itself when it is none. A missing path is left alone."""

    path: str

    def describe(self) -> str:
        return f"make {self.path} read-only"


class Setrlimit(Operation, frozen=True):
    """prlimit(2); ``resource`` is the name without RLIMIT_, -1 is unlimited. In ``settle`` the host's rights raise it."""

    resource: str
    soft: int
    hard: int

    def describe(self) -> str:
        return f"limit {self.resource.lower()} to {self.soft}:{self.hard}"


class SetOomScoreAdj(Operation, frozen=True):
    value: int

    def describe(self) -> str:
        return f"set oom_score_adj {self.value}"


class SetNoNewPrivileges(Operation, frozen=True):
    def describe(self) -> str:
        return "set no-new-privileges"


class LoadSeccomp(Operation, frozen=True):
    """Load a seccomp filter; ``program`` is the array of struct sock_filter in base64, or in a recording its digest."""

    program: str

    def describe(self) -> str:
        if self.program.startswith("sha256:"):
            return f"load seccomp filter {self.program}"
        return f"load seccomp filter of {len(self.program) * 3 // 4 // 8} instructions"


class DropBounding(Operation, frozen=True):
    """Drop every capability that is not in the mask ``keep`` from the bounding set."""

    keep: int

    def describe(self) -> str:
        return f"keep {self.keep.bit_count()} capabilities in the bounding set"


class SetUser(Operation, frozen=True):
    """setgroups, setgid and setuid, in this order, to the result of `ResolveUser`, keeping permitted capabilities."""

    user: str = "user"

    def describe(self) -> str:
        return "become the user"


class Capset(Operation, frozen=True):
    """Set the capability sets for root; another user gets none of them after execve, as with Docker."""

    effective: int
    permitted: int
    inheritable: int = 0
    ambient: int = 0

    def describe(self) -> str:
        return f"set {self.effective.bit_count()} effective capabilities"


class SetParentDeathSignal(Operation, frozen=True):
    """Die with the shim: a process that nobody can wait for would be one that the log does not know the end of."""

    signal: int = 9

    def describe(self) -> str:
        return f"die with signal {self.signal} when the shim ends"


class SetAppArmorProfile(Operation, frozen=True):
    """Have execve(2) confine the process with a loaded AppArmor profile (apparmor(7), change_onexec)."""

    profile: str

    def describe(self) -> str:
        return f"set AppArmor profile {self.profile}"


class Umask(Operation, frozen=True):
    mask: int = 0o022

    def describe(self) -> str:
        return f"set umask {self.mask:04o}"


class Chdir(Operation, frozen=True):
    """Enter the working directory, which must lie inside the root (S2)."""

    path: str

    def describe(self) -> str:
        return f"enter {self.path}"


class Execve(Operation, frozen=True):
    """Execute ``args``; a name without a slash is searched in the environment's PATH.

    Empty ``args`` are handed over beside the plan. With ``init``, an executable file in base64, that is what runs, and it runs
    ``args`` as its child; it comes from a sealed descriptor, so the root has no file of it.
    """

    args: tuple[str, ...] = ()
    init: str = ""

    def describe(self) -> str:
        below = " below an init" if self.init else ""
        return f"execute {self.args[0]}{below}" if self.args else f"execute the command{below}"


AnyOperation = (
    MakeDirectory
    | RemoveDirectory
    | WriteFile
    | Unlink
    | StartScope
    | CreateCgroup
    | RemoveCgroup
    | WriteCgroup
    | AttachDeviceFilter
    | JoinNamespaces
    | JoinUsers
    | Clone
    | WriteIdMaps
    | HoldOverlay
    | AttachOverlay
    | BecomeRoot
    | SetAppArmorProfile
    | SetDumpable
    | Setsid
    | Unshare
    | Mount
    | HoldTree
    | HoldPeerTree
    | MountOverlay
    | EnterRoot
    | MountInRoot
    | BindInRoot
    | MakeNodeInRoot
    | SymlinkInRoot
    | MakeDirectoryInRoot
    | OpenTerminal
    | ResolveUser
    | SetLinkUp
    | Sethostname
    | Setdomainname
    | WriteSysctl
    | PivotRoot
    | MaskPath
    | SetReadOnly
    | Setrlimit
    | SetOomScoreAdj
    | SetNoNewPrivileges
    | LoadSeccomp
    | DropBounding
    | SetUser
    | Capset
    | SetParentDeathSignal
    | Umask
    | Chdir
    | Execve
)
"""The closed union of all operations, for decoding."""


class Plan(msgspec.Struct, frozen=True):
    """An ordered list of operations that makes one process; see the module's docstring for the four phases."""

    prepare: tuple[AnyOperation, ...]
    process: Clone
    settle: tuple[AnyOperation, ...]
    inside: tuple[AnyOperation, ...]

    def operations(self) -> tuple[AnyOperation, ...]:
        """All operations in the order in which they take effect."""
        return (*self.prepare, self.process, *self.settle, *self.inside)

    def release(self) -> tuple[Operation, ...]:
        """What takes back the prepared objects once the process has ended, in reverse order."""
        return undo_of(self.prepare)


def undo_of(operations: tuple[AnyOperation, ...]) -> tuple[Operation, ...]:
    """The undos of operations that were done, in reverse order."""
    undos = (operation.undo() for operation in reversed(operations))
    return tuple(undo for undo in undos if undo is not None)


class OperationResult(msgspec.Struct, frozen=True, array_like=True):
    """What became of one operation: ``errno`` 0 is success, ``value`` its result (a pid, a resolved user) where it has one."""

    operation: str
    errno: int
    duration_ns: int
    syscall: str = ""
    path: str = ""
    value: str = ""

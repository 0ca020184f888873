"""Operations on the new process itself: session, names, limits, user, confinement."""

from __future__ import annotations

from docket.domain.confinement.users import UserNotFound, resolve_user
from docket.domain.plan import operations as op
from docket.kernel.fake.checks import require
from docket.kernel.fake.filesystem import File, read
from docket.kernel.fake.linux_errno import EACCES, EINVAL, ENODEV, ENOENT, ENOTDIR, EPERM, CallFailed
from docket.kernel.fake.model import Model
from docket.kernel.fake.processes import INFINITY, RLIMITS, Process
from docket.kernel.fake.task import Task

_CAP_SETPCAP, _CAP_SYS_ADMIN = 8, 21
_MAX_NAME = 64


def set_attribute(model: Model, operation: op.Operation, task: Task) -> None:
    """Operations on the process itself."""
    process = task.new
    match operation:
        case op.SetDumpable():
            process.dumpable = operation.value
        case op.Setsid():
            require(not process.session, "setsid", EPERM)
            process.session = True
        case op.Unshare():
            for kind in operation.namespaces:
                require(kind in process.namespaces, "unshare", EINVAL)
                old, places = process.namespaces[kind], (process.root, process.cwd)
                process.namespaces[kind], (process.root, process.cwd) = model.processes.unshared(old, places)
        case op.SetLinkUp():
            require(operation.name in process.namespaces["net"].links, "ioctl", ENODEV, operation.name)
            process.namespaces["net"].links[operation.name] = True
        case op.Sethostname():
            require(len(operation.name.encode()) <= _MAX_NAME, "sethostname", EINVAL)
            process.namespaces["uts"].hostname = operation.name
        case op.Setdomainname():
            require(len(operation.name.encode()) <= _MAX_NAME, "setdomainname", EINVAL)
            process.namespaces["uts"].domainname = operation.name
        case op.Setrlimit():
            setrlimit(operation, process)
        case op.SetOomScoreAdj():
            require(-1000 <= operation.value <= 1000, "write", EINVAL, "/proc/self/oom_score_adj")
            process.oom_score_adj = operation.value
        case op.BecomeRoot():
            users = process.namespaces["user"]
            require(users is model.init.namespaces["user"] or bool(users.id_maps), "setgroups", EPERM)
            process.uid, process.gid, process.groups = 0, 0, ()
        case op.SetAppArmorProfile():
            require(bool(model.apparmor), "write", EINVAL, "/proc/self/attr/exec")
            require(operation.profile in model.apparmor, "write", ENOENT, "/proc/self/attr/apparmor/exec")
            process.apparmor_at_execve = operation.profile
        case op.SetParentDeathSignal():
            process.parent_death_signal = operation.signal
        case op.Umask():
            process.umask = operation.mask & 0o777
        case _:
            confine(operation, task)


def setrlimit(operation: op.Setrlimit, process: Process) -> None:
    require(operation.resource in RLIMITS, "setrlimit", EINVAL)
    below = operation.hard == INFINITY or (operation.soft != INFINITY and operation.soft <= operation.hard)
    require(below, "setrlimit", EINVAL)
    process.rlimits[operation.resource] = (operation.soft, operation.hard)


def confine(operation: op.Operation, task: Task) -> None:
    """Operations that take rights away."""
    process = task.new
    sets = process.capabilities
    match operation:
        case op.SetNoNewPrivileges():
            process.no_new_privileges = True
        case op.LoadSeccomp():
            allowed = process.no_new_privileges or bool(sets.effective >> _CAP_SYS_ADMIN & 1)
            require(allowed, "seccomp", EACCES)
            process.seccomp = operation.program
        case op.DropBounding():
            kept = sets.bounding & operation.keep
            require(kept == sets.bounding or bool(sets.effective >> _CAP_SETPCAP & 1), "prctl", EPERM)
            sets.bounding = kept
        case op.SetUser():
            user = task.users[operation.user]
            process.groups, process.gid, process.uid = user.groups, user.gid, user.uid
            sets.effective = sets.effective if user.uid == 0 else 0
        case op.Capset():
            within = not operation.permitted & ~sets.permitted and not operation.effective & ~operation.permitted
            require(within, "capset", EPERM)
            sets.effective, sets.permitted = operation.effective, operation.permitted
            sets.inheritable, sets.ambient = operation.inheritable, 0
        case _:
            raise AssertionError(f"the fake kernel does not know {type(operation).__name__}")


def resolve_user_in_root(operation: op.ResolveUser, task: Task) -> None:
    passwd, group = _account_file(task, "/etc/passwd"), _account_file(task, "/etc/group")
    try:
        user = resolve_user(operation.user.encode(), passwd, group, [name.encode() for name in operation.groups])
    except UserNotFound as error:
        raise CallFailed(str(error), ENOENT) from None
    task.users[operation.result] = user
    task.home = task.home or (user.home or b"/").decode("utf-8", "surrogateescape")


def _account_file(task: Task, path: str) -> bytes:
    try:
        inode = task.new.mounts.resolve(task.root, path)[-1].inode
    except CallFailed as failure:
        if failure.errno in (ENOENT, ENOTDIR):
            return b""
        raise
    require(isinstance(inode, File), "open", EINVAL, path)
    return read(inode, task.new, path)

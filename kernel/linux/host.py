"""Operations on the host: directories, generated files, cgroups, id maps. Performed by the shim, undone by shim or engine."""

from __future__ import annotations

import os
from binascii import a2b_base64
from errno import EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ESRCH

from docket.kernel.linux import abi, syscalls
from docket.kernel.linux.context import Context
from docket.kernel.linux.syscalls import SyscallError

_KILL_ATTEMPTS = 200


def read_small_file(path: str, limit: int = 65_536) -> str:
    """The text of a small kernel-made file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, limit).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def make_directory(context: Context, path: str, mode: int, lasting: bool, parents: bool, uid: int = 0, gid: int = 0) -> bool:
    """False when the directory was there before: then there is nothing to undo."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return False
    except FileNotFoundError:
        parent = os.path.dirname(path.rstrip("/"))
        if not parents or parent == path:
            raise
        make_directory(context, parent, mode, lasting, parents, uid, gid)
        os.mkdir(path, mode)
    os.chmod(path, mode)
    if uid or gid:
        os.chown(path, uid, gid, follow_symlinks=False)
    return True


def remove_directory(context: Context, path: str) -> None:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return


def write_file(context: Context, path: str, content: str, mode: int, uid: int = 0, gid: int = 0) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, mode)
    try:
        os.fchmod(fd, mode)
        if uid or gid:
            os.fchown(fd, uid, gid)
        os.write(fd, content.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


def unlink(context: Context, path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def create_cgroup(context: Context, path: str, controllers: list[str]) -> None:
    """mkdir, with the controllers enabled in every ancestor up to the mount point (cgroup-v2, "Top-down Constraint")."""
    missing = []
    at = path
    while not os.path.exists(at):
        missing.append(at)
        at = os.path.dirname(at)
    parents = [os.path.dirname(directory) for directory in reversed(missing)]
    for parent, directory in zip(parents, reversed(missing), strict=True):
        _enable_controllers(parent, controllers)
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            continue
    if not missing:
        _enable_controllers(os.path.dirname(path), controllers)


def _enable_controllers(cgroup: str, controllers: list[str]) -> None:
    if not controllers:
        return
    enabled = read_small_file(f"{cgroup}/cgroup.subtree_control").split()
    wanted = [f"+{name}" for name in controllers if name not in enabled]
    if not wanted:
        return
    order = " ".join(wanted)
    try:
        write_control(f"{cgroup}/cgroup.subtree_control", order)
    except SyscallError as error:
        if error.syscall != "write" or error.errno != ENOENT:
            raise
        # A controller that is not there is one that a group above was not told to hand on: somebody else made it.
        _enable_controllers(os.path.dirname(cgroup), controllers)
        write_control(f"{cgroup}/cgroup.subtree_control", order)


def write_control(path: str, value: str) -> None:
    """Write a kernel control file in one call."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno or EINVAL, path) from error
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise SyscallError("write", error.errno or EINVAL, path) from error
    finally:
        os.close(fd)


def remove_cgroup(context: Context, path: str) -> None:
    """cgroup.kill (Linux 5.14), then rmdir, which succeeds when the last process is reaped."""
    if not os.path.isdir(path):
        return
    for attempt in range(_KILL_ATTEMPTS):
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != EBUSY or attempt == _KILL_ATTEMPTS - 1:
                raise SyscallError("rmdir", error.errno or EBUSY, path) from error
        try:
            _empty_cgroup(path)
        except FileNotFoundError:
            return  # systemd was quicker with a scope's


def _empty_cgroup(path: str) -> None:
    """Kill what runs in a cgroup, remove the cgroups that were made below it, and let the kernel reap."""
    try:
        write_control(f"{path}/cgroup.kill", "1")
    except SyscallError as error:
        if error.errno not in (ENOENT, ENODEV, EOPNOTSUPP):
            raise
        _kill_one_by_one(path)
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            remove_cgroup(_NO_CONTEXT, entry.path)
    nap()


def _kill_one_by_one(path: str) -> None:
    """Before Linux 5.14 there is no cgroup.kill."""
    for pid in read_small_file(f"{path}/cgroup.procs").split():
        try:
            os.kill(int(pid), 9)
        except ProcessLookupError:
            continue


def nap() -> None:
    """A millisecond or so, without the time module: the child side imports nothing it does not need."""
    import select

    select.select((), (), (), 0.002)


def write_cgroup(context: Context, path: str, file: str, value: str) -> None:
    write_control(f"{path}/{file}", value)


def attach_device_filter(context: Context, path: str, program: str) -> None:
    """Programs of groups above stay in force: a device must be allowed by all of them."""
    cgroup = cgroup_descriptor(path)
    try:
        loaded = syscalls.bpf_load(abi.BPF_PROG_TYPE_CGROUP_DEVICE, a2b_base64(program))
        try:
            syscalls.bpf_attach(cgroup, loaded, abi.BPF_CGROUP_DEVICE, abi.BPF_F_ALLOW_MULTI)
        finally:
            os.close(loaded)
    finally:
        os.close(cgroup)


def start_time_of(pid: int) -> int:
    """Field 22 of /proc/pid/stat. Raises `SyscallError` ESRCH when there is no such process."""
    try:
        stat = read_small_file(f"/proc/{pid}/stat")
    except OSError as error:
        raise SyscallError("open", ESRCH, f"/proc/{pid}/stat") from error
    return int(stat[stat.rindex(")") + 2 :].split()[19])


def join_namespaces(context: Context, pid: int, start_time: int, namespaces: list[str]) -> None:
    """setns(2) by pidfd, once it is sure that the pid is still the process that was meant (S15)."""
    flags = 0
    for name in namespaces:
        flags |= abi.NAMESPACES[name]
    open_process(context, pid, start_time)
    syscalls.setns(context.pidfds[pid], flags)


def join_users(context: Context, pid: int, start_time: int) -> None:
    """Only remembered: the shim itself must stay the host's root (`docket.kernel.shim.birth`)."""
    open_process(context, pid, start_time)
    context.users_of = pid


def open_process(context: Context, pid: int, start_time: int) -> None:
    """Open a process by pidfd. Do it before the clone: in another pid namespace the same number is another process."""
    if pid in context.pidfds:
        return
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        raise SyscallError("pidfd_open", error.errno or ESRCH, str(pid)) from error
    context.pidfds[pid] = pidfd
    if start_time_of(pid) != start_time:
        raise SyscallError("pidfd_open", ESRCH, str(pid))


def cgroup_descriptor(path: str) -> int:
    """A descriptor of a cgroup's directory, for CLONE_INTO_CGROUP."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno or EEXIST, path) from error


_NO_CONTEXT = Context([], [])

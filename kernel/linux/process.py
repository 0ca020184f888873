"""Operations on the new process itself: session, terminal, user, limits, confinement, execve."""

from __future__ import annotations

import _socket
import array
import os
import stat
from errno import EACCES, EINVAL, EISDIR, ENOENT, ENOEXEC, ENOTDIR, EPERM, EROFS

from docket.domain.confinement.users import UserNotFound, resolve_user
from docket.kernel.linux import abi, id_mapping, syscalls
from docket.kernel.linux.context import DEFAULT_PATH, Context, ResolvedUser
from docket.kernel.linux.host import write_control
from docket.kernel.linux.syscalls import SyscallError

_INIT_NAME = b"/sbin/docker-init"
"""What Docker's own is called, for those who read the process list."""
_ACCOUNT_FILE_LIMIT = 16 * 1024 * 1024
_SCM_RIGHTS = 1
_SOL_SOCKET = 1


def set_dumpable(context: Context, value: int) -> None:
    syscalls.prctl(abi.PR_SET_DUMPABLE, value)


def setsid(context: Context) -> None:
    os.setsid()


def unshare(context: Context, namespaces: list[str]) -> None:
    flags = 0
    for name in namespaces:
        flags |= abi.NAMESPACES[name]
    syscalls.unshare(flags)


def open_terminal(context: Context, rows: int, columns: int, console: bool) -> None:
    """A pair of the root's own devpts; the slave comes from the master (TIOCGPTPEER), never from a name."""
    inside = abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_SYMLINKS
    master = syscalls.openat2(context.root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, inside)
    if syscalls.fstatfs_type(master) != abi.DEVPTS_SUPER_MAGIC:
        raise SyscallError("fstatfs", EINVAL, "/dev/pts/ptmx")
    unlocked = array.array("i", [0])
    syscalls.ioctl(master, abi.TIOCSPTLCK, unlocked.buffer_info()[0])
    slave = syscalls.ioctl(master, abi.TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    if rows and columns:
        set_window_size(master, rows, columns)
    if console:
        _bind_console(context, slave)
    channel = context.channel
    assert isinstance(channel, _socket.socket)
    channel.sendmsg([b"\0"], [(_SOL_SOCKET, _SCM_RIGHTS, array.array("i", [master]).tobytes())])
    os.close(master)
    syscalls.ioctl(slave, abi.TIOCSCTTY, 0)
    for standard in (0, 1, 2):
        os.dup2(slave, standard)
    if slave > 2:
        os.close(slave)


def _bind_console(context: Context, slave: int) -> None:
    holder = syscalls.openat2(context.root, "/dev", abi.O_PATH, abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_SYMLINKS)
    flags = os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.close(os.open("console", flags, 0o666, dir_fd=holder))
        point = syscalls.openat2(holder, "console", abi.O_PATH, abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_SYMLINKS)
    finally:
        os.close(holder)
    tree = syscalls.open_tree(slave, "", abi.OPEN_TREE_CLONE | abi.AT_EMPTY_PATH)
    syscalls.move_mount(tree, point, "/dev/console")
    os.close(tree)
    os.close(point)


def set_window_size(terminal: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ on a terminal's descriptor."""
    size = array.array("H", [rows & 0xFFFF, columns & 0xFFFF, 0, 0])
    syscalls.ioctl(terminal, abi.TIOCSWINSZ, size.buffer_info()[0])


def resolve_user_in_root(context: Context, user: str, groups: list[str], result: str) -> None:
    """Read the root's own account files, which must be plain files of a sane size (S12); nothing of the host is asked (S10)."""
    passwd = _account_file(context, "/etc/passwd")
    group = _account_file(context, "/etc/group")
    try:
        resolved = resolve_user(user.encode(), passwd, group, [name.encode() for name in groups])
    except UserNotFound as error:
        raise SyscallError(str(error), ENOENT, "") from None
    context.users[result] = ResolvedUser(resolved.uid, resolved.gid, list(resolved.groups), resolved.home)
    if not any(entry.startswith(b"HOME=") for entry in context.environment):
        context.environment.append(b"HOME=" + (resolved.home or b"/"))


def _account_file(context: Context, path: str) -> bytes:
    resolve = abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_MAGICLINKS
    try:
        fd = syscalls.openat2(context.root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve)
    except SyscallError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return b""
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _ACCOUNT_FILE_LIMIT:
            raise SyscallError("open", EINVAL, path)
        chunks = []
        while chunk := os.read(fd, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def set_link_up(context: Context, name: str) -> None:
    """SIOCSIFFLAGS, netdevice(7)."""
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    try:
        request = array.array("B", name.encode().ljust(16, b"\0") + b"\0" * 24)
        address = request.buffer_info()[0]
        syscalls.ioctl(probe.fileno(), abi.SIOCGIFFLAGS, address)
        flags = int.from_bytes(request[16:18].tobytes(), "little") | abi.IFF_UP
        request[16:18] = array.array("B", flags.to_bytes(2, "little"))
        syscalls.ioctl(probe.fileno(), abi.SIOCSIFFLAGS, address)
    finally:
        probe.close()


def sethostname(context: Context, name: str) -> None:
    syscalls.sethostname(name)


def setdomainname(context: Context, name: str) -> None:
    syscalls.setdomainname(name)


def setrlimit(context: Context, resource: str, soft: int, hard: int) -> None:
    syscalls.setrlimit(abi.RLIMITS[resource], soft, hard, context.child_pid)


def set_oom_score_adj(context: Context, value: int) -> None:
    write_control(f"/proc/{context.child_pid or 'self'}/oom_score_adj", str(value))


def set_apparmor_profile(context: Context, profile: str) -> None:
    """The directory that belongs to AppArmor alone, from Linux 5.8 on; before, the one that security modules shared."""
    order = f"exec {profile}"
    try:
        write_control("/proc/self/attr/apparmor/exec", order)
    except SyscallError as error:
        if error.syscall != "open" or error.errno != ENOENT:
            raise
        write_control("/proc/self/attr/exec", order)


def write_id_maps(context: Context, uids: list[list[int]], gids: list[list[int]]) -> None:
    id_mapping.write_id_maps(context.child_pid, uids, gids)


def become_root(context: Context, uid: int, gid: int) -> None:
    """Root of the user namespace is 0 in it. Capabilities stay: the host's root is none of the namespace's (capabilities(7))."""
    syscalls.setgroups([])
    syscalls.setresgid(0)
    syscalls.setresuid(0)


def set_no_new_privileges(context: Context) -> None:
    syscalls.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)


def load_seccomp(context: Context, program: str) -> None:
    syscalls.seccomp_filter(_PROGRAMS[program])


_PROGRAMS: dict[str, bytes] = {}


def prepare_seccomp(program: str, decoded: bytes) -> None:
    """Keep the decoded bytes of a filter at hand: nothing is decoded once the root is entered (security.md, rule 5)."""
    _PROGRAMS[program] = decoded


def drop_bounding(context: Context, keep: int) -> None:
    for capability in range(abi.CAP_LAST + 1):
        if keep >> capability & 1:
            continue
        try:
            syscalls.prctl(abi.PR_CAPBSET_DROP, capability)
        except SyscallError as error:
            if error.errno != EINVAL:
                raise
            return  # past the last capability that this kernel knows


def set_user(context: Context, user: str) -> None:
    """Groups, gid, uid, in this order: after setuid the right to change groups is gone (S10)."""
    resolved = context.users[user]
    _give_streams(resolved.uid)
    syscalls.prctl(abi.PR_SET_KEEPCAPS, 1)
    syscalls.setgroups(resolved.groups)
    syscalls.setresgid(resolved.gid)
    syscalls.setresuid(resolved.uid)
    syscalls.prctl(abi.PR_SET_KEEPCAPS, 0)


def _give_streams(uid: int) -> None:
    """A user can open /dev/stdout by name only when the pipe or terminal is theirs; /dev/null stays the host's."""
    for descriptor in (0, 1, 2):
        status = os.fstat(descriptor)
        if status.st_uid == uid or (stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)):
            continue
        try:
            os.fchown(descriptor, uid, -1)
        except OSError as error:
            if error.errno not in (EPERM, EINVAL, EROFS):
                raise


def capset(context: Context, effective: int, permitted: int, inheritable: int, ambient: int) -> None:
    """Sets the masks and clears the ambient set. execve computes what another user than root keeps: nothing (capabilities(7))."""
    syscalls.capset(effective, permitted, inheritable)
    syscalls.prctl(abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_CLEAR_ALL)


def set_parent_death_signal(context: Context, signal: int) -> None:
    syscalls.prctl(abi.PR_SET_PDEATHSIG, signal)


def umask(context: Context, mask: int) -> None:
    os.umask(mask)


def chdir(context: Context, path: str) -> None:
    """Every descriptor but the standard ones is gone before, and what getcwd(2) answers must be inside the root (S2)."""
    first = 3
    for kept in sorted((context.keep_fd, context.init_fd)):
        if kept >= 0:
            syscalls.close_range(first, kept - 1)
            first = kept + 1
    syscalls.close_range(first, 0x7FFFFFFF)
    context.root = -1
    try:
        os.chdir(path)
        here = os.getcwd()
    except OSError as error:
        raise SyscallError("chdir", error.errno or EINVAL, path) from None
    if not here.startswith("/"):
        raise SyscallError("getcwd", EPERM, path)


def execve(context: Context, args: list[str], init: str) -> None:
    """Search PATH as execvpe does; the first error that is not "not here" is the one to report."""
    arguments = [argument.encode("utf-8", "surrogateescape") for argument in args or context.arguments]
    environment = context.environ()
    name = arguments[0]
    if b"/" in name:
        candidates = [name]
    else:
        directories = environment.get(b"PATH", DEFAULT_PATH).split(b":")
        candidates = [(directory or b".") + b"/" + name for directory in directories]
    failure = ENOENT
    for candidate in candidates:
        try:
            if stat.S_ISDIR(os.stat(candidate).st_mode):
                failure = EISDIR if b"/" in name else failure
                continue
            if not init:
                os.execve(candidate, arguments, environment)
            elif os.access(candidate, os.X_OK):
                os.execve(context.init_fd, [_INIT_NAME, candidate, *arguments], environment)
            failure = EACCES
        except OSError as error:
            if error.errno in (EACCES, EPERM, ENOEXEC):
                failure = error.errno
            elif error.errno not in (ENOENT, ENOTDIR):
                failure = error.errno or EINVAL
                break
    raise SyscallError("execve", failure, name.decode("utf-8", "surrogateescape"))

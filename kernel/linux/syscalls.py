"""One thin wrapper per system call: convert the arguments, check the result every time, raise with call, errno and path.

No policy here. A C call through ctypes returns -1 and raises nothing, which is how protections get lost silently (S13): nothing
outside of this module calls libc. The module is part of the child side (security.md, rule 5): it imports nothing when called,
and everything it needs is bound at import.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_long, c_uint32, c_uint64, c_ulong, c_void_p, sizeof

from docket.kernel.linux import abi

_libc = ctypes.CDLL(None, use_errno=True)
_python = ctypes.PyDLL(None, use_errno=True)
_get_errno = ctypes.get_errno
_EINTR = 4


class SyscallError(OSError):
    """A system call failed: ``syscall`` names it, ``errno`` and ``filename`` are those of `OSError`."""

    def __init__(self, syscall: str, errno: int, path: str = "") -> None:
        super().__init__(errno, syscall, path)
        self.syscall = syscall
        self.path = path


class OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", c_uint64), ("mode", c_uint64), ("resolve", c_uint64))


class MountAttr(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = (("attr_set", c_uint64), ("attr_clr", c_uint64), ("propagation", c_uint64), ("userns_fd", c_uint64))


class CloneArgs(ctypes.Structure):
    """struct clone_args of clone3(2)."""

    _fields_ = tuple(
        (name, c_uint64)
        for name in ("flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup".split())
    )


class CapHeader(ctypes.Structure):
    """struct __user_cap_header_struct of capset(2)."""

    _fields_ = (("version", c_uint32), ("pid", c_int))


class CapData(ctypes.Structure):
    """struct __user_cap_data_struct of capset(2)."""

    _fields_ = (("effective", c_uint32), ("permitted", c_uint32), ("inheritable", c_uint32))


class SockFprog(ctypes.Structure):
    """struct sock_fprog of seccomp(2)."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class BpfLoad(ctypes.Structure):
    """The head of union bpf_attr for BPF_PROG_LOAD; what is left out is zero."""

    _fields_ = (
        ("prog_type", c_uint32),
        ("insn_cnt", c_uint32),
        ("insns", c_uint64),
        ("license", c_uint64),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_uint64),
        ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
    )


_LICENCE = ctypes.create_string_buffer(b"Apache-2.0")


class Statfs(ctypes.Structure):
    """The head of struct statfs; the rest is padding."""

    _fields_ = (("type", c_long), ("padding", ctypes.c_byte * 256))


def _checked(name: str, path: str, result: int) -> int:
    if result < 0:
        raise SyscallError(name, _get_errno(), path)
    return result


def _function(name: str, *argument_types: type) -> Callable[..., int]:
    """A function of libc. Types that are bound once cost less than arguments that are wrapped at each call."""
    function = _libc[name]
    function.argtypes = argument_types
    return function


def _raw(name: str, *argument_types: type) -> Callable[..., int]:
    """A system call that libc need not know: ``call(path, *arguments)``, which is repeated when a signal interrupts it."""
    function = _function("syscall", c_long, *argument_types)
    function.restype = c_long  # type: ignore[attr-defined]
    number = abi.SYS[name]

    def call(path: str, *arguments: object) -> int:
        while True:
            result = function(number, *arguments)
            if result >= 0 or _get_errno() != _EINTR:
                return _checked(name, path, result)

    return call


_mount = _function("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = _function("umount2", c_char_p, c_int)
_unshare = _function("unshare", c_int)
_setns = _function("setns", c_int, c_int)
_prctl = _function("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_setgroups = _function("setgroups", c_ulong, c_void_p)
_setresgid = _function("setresgid", c_uint32, c_uint32, c_uint32)
_setresuid = _function("setresuid", c_uint32, c_uint32, c_uint32)
_sethostname = _function("sethostname", c_char_p, c_ulong)
_setdomainname = _function("setdomainname", c_char_p, c_ulong)
_prlimit = _function("prlimit64", c_int, c_int, c_void_p, c_void_p)
_ioctl = _function("ioctl", c_int, c_ulong, c_ulong)
_fstatfs = _function("fstatfs", c_int, c_void_p)
_syncfs = _function("syncfs", c_int)

_pivot_root = _raw("pivot_root", c_char_p, c_char_p)
_openat2 = _raw("openat2", c_int, c_char_p, c_void_p, c_ulong)
_open_tree = _raw("open_tree", c_int, c_char_p, c_uint32)
_move_mount = _raw("move_mount", c_int, c_char_p, c_int, c_char_p, c_uint32)
_mount_setattr = _raw("mount_setattr", c_int, c_char_p, c_uint32, c_void_p, c_ulong)
_fsopen = _raw("fsopen", c_char_p, c_uint32)
_fsconfig = _raw("fsconfig", c_int, c_uint32, c_char_p, c_char_p, c_int)
_fsmount = _raw("fsmount", c_int, c_uint32, c_uint32)
_close_range = _raw("close_range", c_uint32, c_uint32, c_uint32)
_capset = _raw("capset", c_void_p, c_void_p)
_seccomp = _raw("seccomp", c_uint32, c_uint32, c_void_p)
_bpf = _raw("bpf", c_int, c_void_p, c_uint32)

# PyDLL keeps the interpreter's lock: the child of a fork must hold it.
_clone3 = _python["syscall"]
_clone3.restype = c_long
_clone3.argtypes = (c_long, c_void_p, c_ulong)


def _path(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    filesystem = _path(fstype) if fstype else None
    _checked("mount", target, _mount(_path(source), _path(target), filesystem, flags, _path(data) if data else None))


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _checked("umount2", target, _umount2(_path(target), flags))


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _pivot_root(new_root, _path(new_root), _path(put_old))


def openat2(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): a descriptor of ``path`` beneath ``directory``, resolved as ``resolve`` says."""
    how = OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _openat2(path, directory, _path(path), byref(how), sizeof(how))


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2)."""
    return _open_tree(path, directory, _path(path), flags | abi.OPEN_TREE_CLOEXEC)


def move_mount(tree: int, target: int, path: str) -> None:
    """move_mount(2) of a detached tree onto the object that the descriptor ``target`` stands for."""
    flags = abi.MOVE_MOUNT_F_EMPTY_PATH | abi.MOVE_MOUNT_T_EMPTY_PATH
    _move_mount(path, tree, b"", target, b"", flags)


def mount_setattr(
    fd: int, path: str, flags: int, *, set_: int = 0, clear: int = 0, propagation: int = 0, users: int = 0
) -> None:
    """mount_setattr(2)."""
    attributes = MountAttr(set_, clear, propagation, users)
    _mount_setattr(path, fd, _path(path), flags, byref(attributes), sizeof(attributes))


def fsopen(fstype: str) -> int:
    """fsopen(2)."""
    return _fsopen(fstype, _path(fstype), abi.FSOPEN_CLOEXEC)


def fsconfig(fd: int, command: int, key: str = "", value: str = "") -> None:
    """fsconfig(2) for the commands that take a string or nothing."""
    _fsconfig(value or key, fd, command, _path(key) if key else None, _path(value) if key else None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a descriptor of the detached mount."""
    return _fsmount("", fd, abi.FSMOUNT_CLOEXEC, attributes)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked("unshare", "", _unshare(flags))


def setns(fd: int, flags: int) -> None:
    """setns(2); a pidfd takes several namespace flags at once."""
    _checked("setns", "", _setns(fd, flags))


def clone3(flags: int, cgroup: int | None = None, *, sibling: bool = False) -> tuple[int, int]:
    """clone3(2) as a fork: ``(pid, pidfd)`` in the parent, ``(0, -1)`` in the child.

    A ``sibling`` is the child of the caller's parent (CLONE_PARENT). Python is told of the fork as `os.fork` would tell it, so the
    child's interpreter is whole.
    """
    pidfd = c_int(-1)
    arguments = CloneArgs(flags=flags | abi.CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=17)
    if sibling:
        arguments.flags |= abi.CLONE_PARENT
        arguments.exit_signal = 0  # it is the caller's own then (clone(2), EINVAL)
    if cgroup is not None:
        arguments.flags |= abi.CLONE_INTO_CGROUP
        arguments.cgroup = cgroup
    _python.PyOS_BeforeFork()
    pid: int = _clone3(abi.SYS["clone3"], byref(arguments), sizeof(arguments))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0, -1
    error = _get_errno()
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise SyscallError("clone3", error)
    return pid, pidfd.value


def close_range(first: int, last: int) -> None:
    """close_range(2)."""
    if first <= last:
        _close_range("", first, last, 0)


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    """prctl(2)."""
    return _checked("prctl", "", _prctl(option, argument, second, 0, 0))


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling thread, 64-bit masks."""
    header = CapHeader(abi.LINUX_CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = (CapData * 2)(
        CapData(effective & low, permitted & low, inheritable & low),
        CapData(effective >> high, permitted >> high, inheritable >> high),
    )
    _capset("", byref(header), byref(data))


def seccomp_filter(program: bytes) -> None:
    """seccomp(SECCOMP_SET_MODE_FILTER) with an array of struct sock_filter."""
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = SockFprog(len(program) // 8, ctypes.addressof(buffer))
    _seccomp("", abi.SECCOMP_SET_MODE_FILTER, 0, byref(fprog))


def bpf_load(kind: int, program: bytes) -> int:
    """bpf(BPF_PROG_LOAD): a descriptor of the program. It calls no helper, so any licence will do."""
    code = ctypes.create_string_buffer(program, len(program))
    attributes = BpfLoad(kind, len(program) // 8, ctypes.addressof(code), ctypes.addressof(_LICENCE))
    return _bpf("BPF_PROG_LOAD", abi.BPF_PROG_LOAD, byref(attributes), sizeof(attributes))


def bpf_attach(target: int, program: int, attach_type: int, flags: int) -> None:
    """bpf(BPF_PROG_ATTACH) of a program to a cgroup's descriptor."""
    attributes = (c_uint32 * 4)(target, program, attach_type, flags)
    _bpf("BPF_PROG_ATTACH", abi.BPF_PROG_ATTACH, byref(attributes), sizeof(attributes))


def setgroups(groups: list[int]) -> None:
    """setgroups(2)."""
    array = (c_uint32 * len(groups))(*groups)
    _checked("setgroups", "", _setgroups(len(groups), array))


def setresgid(gid: int) -> None:
    """setresgid(2) of all three ids."""
    _checked("setresgid", "", _setresgid(gid, gid, gid))


def setresuid(uid: int) -> None:
    """setresuid(2) of all three ids."""
    _checked("setresuid", "", _setresuid(uid, uid, uid))


def sethostname(name: str) -> None:
    """sethostname(2)."""
    encoded = _path(name)
    _checked("sethostname", name, _sethostname(encoded, len(encoded)))


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    encoded = _path(name)
    _checked("setdomainname", name, _setdomainname(encoded, len(encoded)))


def setrlimit(resource: int, soft: int, hard: int, pid: int = 0) -> None:
    """prlimit(2) of a process, 0 is this one; -1 is unlimited."""
    limits = (c_uint64 * 2)(soft & 0xFFFFFFFFFFFFFFFF, hard & 0xFFFFFFFFFFFFFFFF)
    _checked("setrlimit", "", _prlimit(pid, resource, byref(limits), None))


def ioctl(fd: int, request: int, argument: int) -> int:
    """ioctl(2) with an integer or the address of a buffer."""
    return _checked("ioctl", "", _ioctl(fd, request, argument))


def fstatfs_type(fd: int) -> int:
    """The filesystem's magic number, by fstatfs(2)."""
    buffer = Statfs()
    _checked("fstatfs", "", _fstatfs(fd, byref(buffer)))
    return int(buffer.type)


def syncfs(fd: int) -> None:
    """syncfs(2)."""
    _checked("syncfs", "", _syncfs(fd))

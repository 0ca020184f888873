"""Operations on the root filesystem: mounts, nodes, masks, the pivot. Performed by the new process in its own mount namespace.

A name inside the root is resolved with openat2(2) beneath the root's descriptor, and acted on through the descriptor
(/proc/self/fd/N): what an image or another container renames meanwhile cannot lead outside (S4, S5, S7). Mount points of the
kernel's own filesystems must not even be symbolic links.
"""

from __future__ import annotations

import os
import stat
from errno import EEXIST, EINVAL, ELOOP, ENOENT, ENOTDIR, EPERM

from docket.domain.confinement.proc_binds import BINDABLE_IN_PROC, inside_proc
from docket.kernel.linux import abi, syscalls
from docket.kernel.linux.context import Context
from docket.kernel.linux.host import join_namespaces, read_small_file
from docket.kernel.linux.id_mapping import OVERLAY
from docket.kernel.linux.syscalls import SyscallError

_PAGE = 4096
_OVERLAY_OPTIONS = {"redirect_dir": "off", "metacopy": "off", "index": "off"}
"""A writable layer must hold its whole content, whatever the kernel's defaults: with redirects or metadata-only copies a layer
made of it would lack files. A rename of an image's directory is then EXDEV, and programs copy instead, as under Docker."""
_KERNEL_FILESYSTEMS = frozenset({"proc", "sysfs", "devpts", "mqueue", "cgroup2"})
_KERNEL_DIRECTORIES = ("/dev", "/proc", "/sys")


def _flags(names: list[str]) -> int:
    flags = 0
    for name in names:
        flags |= abi.MOUNT_FLAGS[name]
    return flags


def _resolution(target: str, fstype: str = "") -> int:
    below = any(target == top or target.startswith(top + "/") for top in _KERNEL_DIRECTORIES)
    links = abi.RESOLVE_NO_SYMLINKS if below or fstype in _KERNEL_FILESYSTEMS else abi.RESOLVE_NO_MAGICLINKS
    return abi.RESOLVE_IN_ROOT | links


def _open(context: Context, path: str, resolve: int, flags: int = 0) -> int:
    return syscalls.openat2(context.root, path, abi.O_PATH | flags, resolve)


def _open_or_make(context: Context, path: str, resolve: int, directory: bool, mode: int = 0o755) -> int:
    """A descriptor of ``path``, which is made, with its missing parents, as a directory or an empty file."""
    try:
        return _open(context, path, resolve)
    except SyscallError as error:
        if error.errno != ENOENT:
            raise
    parent, _, name = path.rstrip("/").rpartition("/")
    holder = _open_or_make(context, parent or "/", resolve, True)
    try:
        if directory:
            os.mkdir(name, mode, dir_fd=holder)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644, dir_fd=holder))
    except FileExistsError as error:
        if not directory:
            raise SyscallError("openat2", ELOOP, path) from error
    except OSError as error:
        raise SyscallError("mkdirat" if directory else "openat", error.errno or EINVAL, path) from error
    finally:
        os.close(holder)
    return _open(context, path, resolve)


def mount(context: Context, source: str, target: str, fstype: str, flags: list[str], data: str) -> None:
    syscalls.mount(source, target, fstype, _flags(flags), data)


def mount_overlay(context: Context, lowerdirs: list[str], upperdir: str, workdir: str, target: str) -> None:
    """By mount(2) while the options fit in a page, else by fsconfig(2) ``lowerdir+``, which Linux 6.5 brought."""
    writable = {"upperdir": upperdir, "workdir": workdir, **_OVERLAY_OPTIONS} if upperdir else {}
    upper = "".join(f",{key}={value}" for key, value in writable.items())
    data = f"lowerdir={':'.join(lowerdirs)}{upper}"
    if len(data) < _PAGE:
        for directory in (*lowerdirs, *((upperdir, workdir) if upperdir else ())):
            _require_directory(directory)
        syscalls.mount("overlay", target, "overlay", 0, data)
        return
    fd = syscalls.fsopen("overlay")
    try:
        for directory in lowerdirs:
            syscalls.fsconfig(fd, abi.FSCONFIG_SET_STRING, "lowerdir+", directory)
        for key, value in writable.items():
            syscalls.fsconfig(fd, abi.FSCONFIG_SET_STRING, key, value)
        syscalls.fsconfig(fd, abi.FSCONFIG_CMD_CREATE)
        tree = syscalls.fsmount(fd)
    finally:
        os.close(fd)
    _attach(tree, target)


def attach_overlay(context: Context, target: str) -> None:
    tree = context.take(OVERLAY, False, "private")
    _attach(tree, target)


def _attach(tree: int, target: str) -> None:
    """Mount the detached tree, and close it."""
    try:
        point = syscalls.openat2(abi.AT_FDCWD, target, abi.O_PATH, 0)
        try:
            syscalls.move_mount(tree, point, target)
        finally:
            os.close(point)
    finally:
        os.close(tree)


def _require_directory(path: str) -> None:
    """mount(2) answers a missing layer with a bare ENOENT; this names it."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise SyscallError("stat", error.errno or ENOENT, path) from error
    if not stat.S_ISDIR(mode):
        raise SyscallError("stat", ENOTDIR, path)


def enter_root(context: Context, path: str) -> None:
    context.root = syscalls.openat2(abi.AT_FDCWD, path, abi.O_PATH | os.O_DIRECTORY, 0)


def mount_in_root(context: Context, fstype: str, target: str, flags: list[str], data: str) -> None:
    point = _open_or_make(context, target, _resolution(target, fstype), True)
    try:
        if fstype not in _KERNEL_FILESYSTEMS:
            _refuse_procfs(point, target)
        try:
            syscalls.mount(fstype, f"/proc/self/fd/{point}", fstype, _flags(flags), data)
        except SyscallError as error:
            raise SyscallError("mount", error.errno or EINVAL, target) from error
    finally:
        os.close(point)


def hold_tree(context: Context, source: str, recursive: bool, propagation: str) -> None:
    """Before the namespace's mounts become slaves a clone is still a peer of the host's mount, and stays one."""
    kind = propagation.removeprefix("r")
    if kind != "private":
        _require_propagation(source, kind)
    deep = abi.AT_RECURSIVE if recursive else 0
    tree = syscalls.open_tree(abi.AT_FDCWD, source, abi.OPEN_TREE_CLONE | deep)
    context.hold(source, recursive, propagation, tree)


def _require_propagation(source: str, kind: str) -> None:
    probe = syscalls.openat2(abi.AT_FDCWD, source, abi.O_PATH, 0)
    try:
        point, peers = mount_of(probe)
    finally:
        os.close(probe)
    if "shared" not in peers and (kind == "shared" or "master" not in peers):
        wanted = "a shared" if kind == "shared" else "a shared or slave"
        raise SyscallError(f"path {source} is mounted on {point} but it is not {wanted} mount", EINVAL)


def hold_peer_tree(context: Context, pid: int, start_time: int, path: str) -> None:
    """open_tree(2) clones only what is mounted in the caller's own namespace: go there, and come back."""
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        join_namespaces(context, pid, start_time, ["mount"])
        try:
            inside = abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_SYMLINKS
            point = syscalls.openat2(abi.AT_FDCWD, path, abi.O_PATH, inside)
            try:
                flags = abi.OPEN_TREE_CLONE | abi.AT_RECURSIVE | abi.AT_EMPTY_PATH
                context.hold(f"{pid}:{path}", True, "rslave", syscalls.open_tree(point, "", flags))
            finally:
                os.close(point)
        finally:
            syscalls.setns(own, abi.NAMESPACES["mount"])
    finally:
        os.close(own)


def bind_in_root(
    context: Context,
    source: str,
    target: str,
    readonly: bool,
    recursive: bool,
    propagation: str,
    flags: list[str],
    readonly_recursive: bool,
) -> None:
    deep = abi.AT_RECURSIVE if recursive else 0
    kind = propagation.removeprefix("r")
    tree = context.take(source, recursive, propagation)
    if tree < 0:
        tree = syscalls.open_tree(abi.AT_FDCWD, source, abi.OPEN_TREE_CLONE | deep)
    try:
        attributes = abi.MOUNT_ATTR_RDONLY if readonly else 0
        for name in flags:
            attributes |= abi.MOUNT_ATTRS[name]
        whole = abi.AT_RECURSIVE if recursive and propagation.startswith("r") else 0
        syscalls.mount_setattr(tree, "", abi.AT_EMPTY_PATH | whole, propagation=abi.PROPAGATION[kind])
        if attributes:
            below = deep if readonly_recursive else 0
            syscalls.mount_setattr(tree, "", abi.AT_EMPTY_PATH | below, set_=attributes)
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        point = _open_or_make(context, target, _resolution(target), directory)
        try:
            _refuse_procfs(point, target)
            if kind == "shared" and "shared" in mount_of(point)[1]:
                raise SyscallError("move_mount", EPERM, target)
            syscalls.move_mount(tree, point, target)
        finally:
            os.close(point)
    finally:
        os.close(tree)


def mount_of(fd: int) -> tuple[str, str]:
    """Where the mount that a descriptor lies on is mounted, and whose peer (``shared:``) or slave (``master:``) it is.

    Only before the pivot, while /proc is the host's.
    """
    lines = read_small_file(f"/proc/self/fdinfo/{fd}").splitlines()
    number = next(line.split()[1] for line in lines if line.startswith("mnt_id:"))
    table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(table, 1 << 16):
            chunks.append(chunk)
    finally:
        os.close(table)
    for line in b"".join(chunks).decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(" ")
        if fields[0] == number:
            return fields[4], " ".join(fields[6 : fields.index("-")])
    return "/", ""


def _refuse_procfs(point: int, target: str) -> None:
    """What the engine and the container trust of /proc must come from the kernel (S6, CVE-2019-16884)."""
    if target not in BINDABLE_IN_PROC and syscalls.fstatfs_type(point) == abi.PROC_SUPER_MAGIC:
        raise SyscallError(inside_proc(target), EPERM)


def make_node_in_root(context: Context, path: str, kind: str, major: int, minor: int, mode: int) -> None:
    holder, name = _parent(context, path)
    try:
        form = stat.S_IFBLK if kind == "b" else stat.S_IFCHR
        os.mknod(name, form | mode, os.makedev(major, minor), dir_fd=holder)
        os.chmod(name, mode, dir_fd=holder)
    except OSError as error:
        raise SyscallError("mknodat", error.errno or EINVAL, path) from error
    finally:
        os.close(holder)


def symlink_in_root(context: Context, path: str, target: str) -> None:
    holder, name = _parent(context, path)
    try:
        os.symlink(target, name, dir_fd=holder)
    except OSError as error:
        raise SyscallError("symlinkat", error.errno or EEXIST, path) from error
    finally:
        os.close(holder)


def _parent(context: Context, path: str) -> tuple[int, str]:
    parent, _, name = path.rpartition("/")
    return _open_or_make(context, parent or "/", _resolution(path), True), name


def make_directory_in_root(context: Context, path: str, mode: int) -> None:
    fd = _open_or_make(context, path, _resolution(path), True, mode)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise SyscallError("mkdirat", ENOTDIR, path)
    finally:
        os.close(fd)


def pivot_root(context: Context) -> None:
    """pivot_root(".", "."): the old root ends up below the new one, and is detached from there (pivot_root(2), NOTES)."""
    os.fchdir(context.root)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", abi.MNT_DETACH)
    os.chdir("/")
    os.close(context.root)
    context.root = syscalls.openat2(abi.AT_FDCWD, "/", abi.O_PATH | os.O_DIRECTORY, 0)


def _open_if_there(context: Context, path: str) -> int | None:
    """A descriptor of ``path``, which no link may lead to; None when there is no such path to close."""
    try:
        return _open(context, path, abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_SYMLINKS)
    except SyscallError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return None
        raise


def mask_path(context: Context, path: str) -> None:
    point = _open_if_there(context, path)
    if point is None:
        return
    try:
        if stat.S_ISDIR(os.fstat(point).st_mode):
            syscalls.mount("tmpfs", f"/proc/self/fd/{point}", "tmpfs", abi.MS_RDONLY, "size=0k")
        else:
            _bind_null(context, point, path)
    finally:
        os.close(point)


def _bind_null(context: Context, point: int, path: str) -> None:
    """Bind /dev/null, once it is sure that it is the null device and no file that the image put there (S5)."""
    null = _open(context, "/dev/null", abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_SYMLINKS)
    try:
        status = os.fstat(null)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
            raise SyscallError("fstat", EINVAL, "/dev/null")
        tree = syscalls.open_tree(null, "", abi.OPEN_TREE_CLONE | abi.AT_EMPTY_PATH)
        try:
            syscalls.move_mount(tree, point, path)
        finally:
            os.close(tree)
    finally:
        os.close(null)


def set_read_only(context: Context, path: str) -> None:
    point = _open_if_there(context, path)
    if point is None:
        return
    try:
        if path == "/":
            syscalls.mount_setattr(point, "", abi.AT_EMPTY_PATH, set_=abi.MOUNT_ATTR_RDONLY)
            return
        tree = syscalls.open_tree(point, "", abi.OPEN_TREE_CLONE | abi.AT_EMPTY_PATH | abi.AT_RECURSIVE)
        try:
            syscalls.mount_setattr(tree, "", abi.AT_EMPTY_PATH | abi.AT_RECURSIVE, set_=abi.MOUNT_ATTR_RDONLY)
            syscalls.move_mount(tree, point, path)
        finally:
            os.close(tree)
    finally:
        os.close(point)


def write_sysctl(context: Context, name: str, value: str) -> None:
    """Through the root's own procfs, and only when it is one (S6)."""
    path = "/proc/sys/" + name.replace(".", "/")
    fd = syscalls.openat2(context.root, path, os.O_WRONLY, abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_SYMLINKS)
    try:
        if syscalls.fstatfs_type(fd) != abi.PROC_SUPER_MAGIC:
            raise SyscallError("fstatfs", EINVAL, path)
        os.write(fd, value.encode("utf-8", "surrogateescape"))
    except SyscallError:
        raise
    except OSError as error:
        raise SyscallError("write", error.errno or EINVAL, path) from error
    finally:
        os.close(fd)

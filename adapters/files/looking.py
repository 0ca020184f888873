"""Names in a container become descriptors here, as Docker reads them: ``..`` is taken away first, a last part that is a link is
the link itself, unless ``/`` or ``/.`` stands behind it.

Every lookup is openat2(2) in the root's descriptor with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: links lead where they would lead
the container, at any moment of whatever it renames, and never out of it (S17). What the kernel makes up (/proc, /sys and their
like) holds no files to be copied and is not found: reading there has effects, and the engine would see with its own eyes.
"""

from __future__ import annotations

import ctypes
import os
import stat
from errno import EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR

from docket.adapters.images.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from docket.domain.container_files import ContainerTree, PathStat
from docket.domain.errors import InvalidArgument, NotFound, Rejected

RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
MAX_LINKS = 255

_NOT_FILES = frozenset(
    {
        *(0x9FA0, 0x62656572, 0x63677270, 0x27E0EB, 0x1CD1, 0x19800202),  # proc, sysfs, cgroup2, cgroup, devpts, mqueue
        *(0x73636673, 0x74726163, 0x64626720, 0xCAFE4A11, 0x6E736673, 0x958458F6, 0x62656570, 0x67596969),
        # securityfs, tracefs, debugfs, bpf, nsfs, hugetlbfs, configfs, rpc_pipefs
    }
)
_GO_DIRECTORY, _GO_LINK, _GO_DEVICE, _GO_FIFO, _GO_SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_GO_SETUID, _GO_SETGID, _GO_CHAR, _GO_STICKY = 1 << 23, 1 << 22, 1 << 21, 1 << 20
_GO_KINDS = {
    stat.S_IFDIR: _GO_DIRECTORY,
    stat.S_IFLNK: _GO_LINK,
    stat.S_IFBLK: _GO_DEVICE,
    stat.S_IFCHR: _GO_DEVICE | _GO_CHAR,
    stat.S_IFIFO: _GO_FIFO,
    stat.S_IFSOCK: _GO_SOCKET,
}


class _Statfs(ctypes.Structure):
    _fields_ = (("type", ctypes.c_long), ("padding", ctypes.c_byte * 256))


_fstatfs = ctypes.CDLL(None, use_errno=True).fstatfs
_fstatfs.argtypes = [ctypes.c_int, ctypes.POINTER(_Statfs)]


class Foreign:
    """Tells which objects the kernel makes up; it asks once for each device."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def __call__(self, descriptor: int, status: os.stat_result) -> bool:
        known = self._known.get(status.st_dev)
        if known is None:
            known = self._known[status.st_dev] = _filesystem(descriptor) in _NOT_FILES
        return known


def _filesystem(descriptor: int) -> int:
    found = _Statfs()
    if _fstatfs(descriptor, found) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    kind: int = found.type & 0xFFFFFFFF
    return kind


class Name:
    """A path as a client gave it. ``parts`` have no ``.`` and no ``..``; ``inside`` means what a last link leads to."""

    def __init__(self, path: str) -> None:
        if "\0" in path:
            raise Rejected(InvalidArgument("the path contains a NUL character"))
        self.text = path
        self.parts: list[bytes] = []
        for part in os.fsencode(path).split(b"/"):
            if part == b"..":
                self.parts = self.parts[:-1]
            elif part not in (b"", b"."):
                self.parts.append(part)
        self.dot = path == "." or path.endswith("/.")
        self.inside = self.dot or path.endswith("/") or not self.parts

    @property
    def joined(self) -> bytes:
        return b"/".join(self.parts) or b"."

    @property
    def base(self) -> bytes:
        """Go's ``filepath.Base`` of the path: what the first member of its archive is called."""
        return b"." if self.dot and self.parts else (self.parts[-1] if self.parts else b"/")


def look(root: int, name: Name) -> int:
    """Returns an O_PATH descriptor of what the name means; raises `OSError`."""
    if name.inside:
        return openat2(root, name.joined, os.O_PATH | os.O_DIRECTORY, RESOLVE)
    parent = parent_of(root, name)
    try:
        return os.open(name.parts[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


def parent_of(root: int, name: Name) -> int:
    """Returns an O_PATH descriptor of the directory that the last part lies in; raises `OSError`."""
    return openat2(root, b"/".join(name.parts[:-1]) or b".", os.O_PATH | os.O_DIRECTORY, RESOLVE)


def look_for_files(root: int, name: Name, tree: ContainerTree) -> int:
    """As `look`; raises `Rejected` with Docker's text for what is not there, or no file to be copied."""
    try:
        descriptor = look(root, name)
    except OSError as error:
        raise refusal(error, name, tree) from error
    if Foreign()(descriptor, os.fstat(descriptor)):
        os.close(descriptor)
        raise not_found(name, tree)
    return descriptor


def not_found(name: Name, tree: ContainerTree) -> Rejected:
    return Rejected(NotFound(f"Could not find the file {name.text} in container {tree.reference}"))


def refusal(error: OSError, name: Name, tree: ContainerTree) -> Exception:
    """What a client hears of a name that leads nowhere; the error itself for what is not the name's fault."""
    if error.errno == ENOENT:
        return not_found(name, tree)
    if error.errno in (ENOTDIR, ELOOP, ENAMETOOLONG, EINVAL):
        return Rejected(InvalidArgument(f"lstat {name.text}: {os.strerror(error.errno).lower()}"))
    return error


def described(root: int, name: Name, descriptor: int) -> PathStat:
    """What Docker tells of a path in the header of its answer."""
    status = os.fstat(descriptor)
    target = ""
    if stat.S_ISLNK(status.st_mode):
        target = os.fsdecode(b"/" + b"/".join(follow(root, name.parts)))
    return PathStat(os.fsdecode(name.base), status.st_size, go_mode(status.st_mode), status.st_mtime_ns, target)


def go_mode(mode: int) -> int:
    """Go's bits of a mode."""
    special = ((stat.S_ISUID, _GO_SETUID), (stat.S_ISGID, _GO_SETGID), (stat.S_ISVTX, _GO_STICKY))
    return (mode & 0o777) | _GO_KINDS.get(stat.S_IFMT(mode), 0) | sum(bit for asked, bit in special if mode & asked)


def follow(root: int, parts: list[bytes]) -> list[bytes]:
    """The path with every link in it followed, as far as it exists. A name only, for the client to ask by."""
    pending, links = list(reversed(parts)), 0
    done: list[bytes] = []
    while pending:
        part = pending.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            done = done[:-1]
            continue
        target = _link(root, [*done, part])
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(ELOOP, os.strerror(ELOOP))
        if target.startswith(b"/"):
            done = []
        pending += reversed(target.split(b"/"))
    return done


def _link(root: int, parts: list[bytes]) -> bytes | None:
    """Where the link leads; None for what is no link, or not there."""
    try:
        descriptor = openat2(root, b"/".join(parts), os.O_PATH | os.O_NOFOLLOW, RESOLVE)
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return None
        raise
    try:
        return os.readlink(b"", dir_fd=descriptor) if stat.S_ISLNK(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)

"""Packing a tree into a tar archive: a layer from an overlay's upper directory, or files for a client.

The tree is walked by descriptors: every object is opened with O_PATH | O_NOFOLLOW in its parent's descriptor and looked at, and
only what is a regular file or a directory is opened any further, through that same descriptor. So a container that renames
and links meanwhile can lead the walk nowhere else, a device is never opened and a FIFO never waited for (S17). Members come in
the order of their names' bytes, a second name of a file as a hard link to the first; sockets are left out, as Docker does.
The archive is made while it is read: memory holds one piece of a file, and the names of files with several.

What becomes of an overlay's own marks in a layer (`OVERLAY`):

    character device 0:0              .wh.NAME
    trusted.overlay.opaque=y          .wh..wh..opq as the directory's first member
    trusted.overlay.*, user.overlay.* left out
    redirect, metacopy                refused: the content lies elsewhere (docket mounts overlays with both off)
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

import msgspec

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.paths import MAX_DEPTH, show
from docket.adapters.images.tar_reader import BLOCK_DEVICE, CHAR_DEVICE, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK
from docket.adapters.images.tar_writer import END, member_header, padding
from docket.adapters.images.unpack import DROPPED_XATTRS, KEPT_XATTRS, OPAQUE_XATTR
from docket.domain.oci.layer import OPAQUE_MARKER, WHITEOUT_PREFIX

PIECE = 512 * 1024

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ELSEWHERE = (b"trusted.overlay.redirect", b"trusted.overlay.metacopy")
_SECOND_NS = 1_000_000_000
_KINDS = {stat.S_IFCHR: CHAR_DEVICE, stat.S_IFBLK: BLOCK_DEVICE, stat.S_IFIFO: FIFO}


class Packing(msgspec.Struct, frozen=True):
    """What is packed of a tree."""

    overlay: bool = False
    """It is an overlay's upper directory, and becomes a layer."""
    nanoseconds: bool = False
    """Keep fractions of seconds. Docker cuts them, and so do archives for clients."""
    placeholders: frozenset[bytes] = frozenset()
    """Paths that are left out where they are empty files or directories: what the engine itself made to mount on."""
    is_foreign: Callable[[int, os.stat_result], bool] | None = None
    """Tells of a directory, by its descriptor, that its entries are not files to be copied (``/proc``)."""


OVERLAY = Packing(overlay=True, nanoseconds=True)
FILES = Packing()


def pack_tree(root: int, packing: Packing, top: bytes = b"") -> Iterator[bytes]:
    """Yields the archive of what lies in the directory ``root``, which stays the caller's.

    With a ``top`` the directory itself is the first member, and all names begin with it. Raises `InvalidArchive` for what an
    archive cannot hold, `OSError`.
    """
    packer = _Packer(packing)
    if top:
        yield packer.directory(root, os.fstat(root), top)
    yield from packer.entries(root, top.rstrip(b"/") + b"/" if top else b"")
    yield END


def pack_one(parent: int, name: bytes, packing: Packing, member: bytes) -> Iterator[bytes]:
    """Yields the archive of a single file, link or directory of ``parent``, called ``member``. Raises as `pack_tree` does."""
    packer = _Packer(packing)
    yield from packer.entry(parent, name, member)
    yield END


class _Packer:
    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._names: dict[tuple[int, int], bytes] = {}
        """The first name of every file that has several."""

    def entries(self, directory: int, prefix: bytes, depth: int = 0) -> Iterator[bytes]:
        """Everything below a directory. Its descriptor stays the caller's."""
        if depth > MAX_DEPTH:
            raise InvalidArchive(f"{show(prefix)}…: deeper than {MAX_DEPTH} directories")
        for name in sorted(map(os.fsencode, os.listdir(directory))):
            try:
                yield from self.entry(directory, name, prefix + name, depth)
            except FileNotFoundError:
                continue  # gone since it was listed: the container runs

    def entry(self, parent: int, name: bytes, path: bytes, depth: int = 0) -> Iterator[bytes]:
        """One object and, if it is a directory, all below it."""
        descriptor = os.open(name, _LOOK, dir_fd=parent)
        try:
            status = os.fstat(descriptor)
            if self._packing.overlay:
                if _is_whiteout(status):
                    yield member_header(_whiteout(path), REGULAR)
                    return
                if name.startswith(WHITEOUT_PREFIX):
                    raise InvalidArchive(f"{show(path)}: in a layer a name that begins with .wh. would remove a file")
            if path in self._packing.placeholders and _is_empty(descriptor, status):
                return
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(descriptor, status, path, depth)
            else:
                yield from self._file(descriptor, status, path)
        finally:
            os.close(descriptor)

    def directory(self, descriptor: int, status: os.stat_result, path: bytes) -> bytes:
        """The member of a directory, with its opaque mark behind it."""
        xattrs = self._xattrs(descriptor, path)
        marker = b""
        if self._packing.overlay and _value(descriptor, OPAQUE_XATTR) == b"y":
            marker = member_header(path.rstrip(b"/") + b"/" + OPAQUE_MARKER, REGULAR)
        return self._header(path, DIRECTORY, status, xattrs=xattrs) + marker

    def _below(self, descriptor: int, status: os.stat_result, path: bytes, depth: int) -> Iterator[bytes]:
        yield self.directory(descriptor, status, path)
        if self._packing.is_foreign is not None and self._packing.is_foreign(descriptor, status):
            return
        readable = os.open(b".", _LIST, dir_fd=descriptor)
        try:
            yield from self.entries(readable, path + b"/", depth + 1)
        finally:
            os.close(readable)

    def _file(self, descriptor: int, status: os.stat_result, path: bytes) -> Iterator[bytes]:
        mode = stat.S_IFMT(status.st_mode)
        if mode == stat.S_IFSOCK:
            return
        if status.st_nlink > 1:
            key = (status.st_dev, status.st_ino)
            first = self._names.setdefault(key, path)
            if first != path:
                yield self._header(path, HARD_LINK, status, linkname=first)
                return
        xattrs = self._xattrs(descriptor, path)
        if mode == stat.S_IFREG:
            yield from self._data(descriptor, status, path, xattrs)
        elif mode == stat.S_IFLNK:
            target = os.readlink(b"", dir_fd=descriptor)
            yield self._header(path, SYMLINK, status, linkname=target, xattrs=xattrs)
        else:
            device = (0, 0) if mode == stat.S_IFIFO else (os.major(status.st_rdev), os.minor(status.st_rdev))
            yield self._header(path, _KINDS[mode], status, device=device, xattrs=xattrs)

    def _data(self, descriptor: int, status: os.stat_result, path: bytes, xattrs: dict[bytes, bytes]) -> Iterator[bytes]:
        """The file as long as it was when it was looked at: what it grows by is left out, what it lacks is zeros."""
        size = status.st_size
        header = self._header(path, REGULAR, status, size=size, xattrs=xattrs)
        if not size:
            yield header
            return
        file = os.open(b"/proc/self/fd/%d" % descriptor, _READ)
        try:
            data = os.read(file, min(size, PIECE))
            left = size - len(data)
            if not left:
                yield header + data + padding(size)
                return
            yield header + data
            while left and (data := os.read(file, min(left, PIECE))):
                left -= len(data)
                yield data
            while left:
                data = bytes(min(left, PIECE))
                left -= len(data)
                yield data
            yield padding(size)
        finally:
            os.close(file)

    def _header(
        self,
        path: bytes,
        kind: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        linkname: bytes = b"",
        device: tuple[int, int] = (0, 0),
        xattrs: dict[bytes, bytes] | None = None,
    ) -> bytes:
        time = status.st_mtime_ns
        if not self._packing.nanoseconds:
            time -= time % _SECOND_NS
        return member_header(
            path,
            kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=size,
            mtime_ns=time,
            linkname=linkname,
            device=device,
            xattrs=xattrs,
        )

    def _xattrs(self, descriptor: int, path: bytes) -> dict[bytes, bytes]:
        """The attributes that unpacking keeps, read through the descriptor's own link, which leads to the object itself."""
        link = b"/proc/self/fd/%d" % descriptor
        try:
            names = [os.fsencode(name) for name in os.listxattr(link)]
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.EPERM):
                return {}
            raise
        if self._packing.overlay and any(name in names for name in _ELSEWHERE):
            raise InvalidArchive(f"{show(path)}: its content lies under another name (redirect_dir or metacopy of overlayfs)")
        wanted = [name for name in names if name.startswith(KEPT_XATTRS) and not name.startswith(DROPPED_XATTRS)]
        found = {name: _value(descriptor, name) for name in wanted}
        return {name: value for name, value in found.items() if value is not None}


def _value(descriptor: int, name: bytes | str) -> bytes | None:
    """An attribute of the object behind an O_PATH descriptor; None when it has none of this name."""
    try:
        return os.getxattr(b"/proc/self/fd/%d" % descriptor, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _whiteout(path: bytes) -> bytes:
    parent, slash, name = path.rpartition(b"/")
    return parent + slash + WHITEOUT_PREFIX + name


def _is_empty(descriptor: int, status: os.stat_result) -> bool:
    if stat.S_ISREG(status.st_mode):
        return status.st_size == 0
    if not stat.S_ISDIR(status.st_mode):
        return False
    readable = os.open(b".", _LIST, dir_fd=descriptor)
    try:
        return not os.listdir(readable)
    finally:
        os.close(readable)

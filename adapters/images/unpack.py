"""Unpacking a layer into a fresh directory, as overlayfs wants to have it.

Whatever the archive says, nothing outside the directory is created, changed or read (S19, S20): each member's parent is a
descriptor from `Tree`, the last part of its name is created with O_EXCL or a call that follows no link, and owner, mode, times
and attributes are set on the new object's descriptor. What is kept: owners, all mode bits, times to the nanosecond, hard
links, devices, and attributes in `KEPT_XATTRS`.

    .wh.NAME                 a character device 0:0; an opaque mark if this layer itself has a directory NAME
    .wh..wh..opq             trusted.overlay.opaque=y on the directory
    a later member           replaces an earlier one of the same name; a directory stays and gets the later owner and mode
    device 0:0               refused, it would be a whiteout in disguise
    *.overlay.* attributes   dropped: they would steer the kernel's overlay (S22)

The directory must be reachable by nobody else while this runs. Needs root (owners, devices, trusted attributes).
"""

from __future__ import annotations

import errno
import os
import stat

import msgspec

from docket.adapters.images.disk import write_all
from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.paths import member_path, show
from docket.adapters.images.remove_tree import remove_tree
from docket.adapters.images.tar_reader import (
    BLOCK_DEVICE,
    CHAR_DEVICE,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Member,
    TarReader,
)
from docket.adapters.images.tree import Tree
from docket.domain.oci.layer import WHITEOUT_PREFIX, NameKind, kind_of, whiteout_target

OPAQUE_XATTR = "trusted.overlay.opaque"
MAX_ID = 2**32 - 2
"""The largest owner: the number after it means "leave as it is" to chown(2)."""
MAX_DIRECTORIES = 250_000
"""Their times are set at the end, so each is remembered."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL = 1024 * 1024
KEPT_XATTRS = (b"user.", b"trusted.", b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")
DROPPED_XATTRS = (b"trusted.overlay.", b"user.overlay.")
_BLAMED = frozenset(
    {
        *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
        *(errno.EXDEV, errno.ENAMETOOLONG, errno.EMLINK, errno.E2BIG, errno.ERANGE),
    }
)
_KINDS = {CHAR_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class Unpacked(msgspec.Struct):
    """What an unpacked layer came to. ``size`` is the sum of its files' lengths, as Docker counts it."""

    members: int = 0
    size: int = 0
    skipped_xattrs: int = 0
    """Attributes that the file system does not support; a lost ``security.capability`` is an error instead."""


def unpack_layer(reader: TarReader, root: int) -> Unpacked:
    """Unpacks every member below the descriptor ``root``; raises `InvalidArchive`, or `OSError` for what the disk refuses."""
    unpacker = Unpacker(reader, Tree(root))
    try:
        for member in reader:
            unpacker.add(member)
        unpacker.set_directory_times()
    finally:
        unpacker.tree.close()
    return unpacker.result


class Unpacker:
    """Unpacks member by member into ``tree``. Who has other rules for names overrides `place`."""

    def __init__(self, reader: TarReader, tree: Tree) -> None:
        self.reader = reader
        self.tree = tree
        self.result = Unpacked()
        self._directory_times: dict[bytes, int] = {}

    def add(self, member: Member) -> None:
        path = member_path(member.name)
        if member.uid > MAX_ID or member.gid > MAX_ID:
            raise InvalidArchive(f"member {show(path)}: owner {member.uid}:{member.gid} is out of range")
        self.result.members += 1
        try:
            self.place(member, path)
        except OSError as error:
            raise _refused(path, error) from error

    def place(self, member: Member, path: bytes) -> None:
        """Does what the member says; ``path`` is empty for the root."""
        parent_path, _, name = path.rpartition(b"/")
        if WHITEOUT_PREFIX in path and self._marker(member, parent_path, name, path):
            return
        if path:
            self.create(member, self.tree.directory(parent_path), name, path)
        else:
            self._root(member)

    def create(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        """Makes the member in the directory ``parent``, in place of what has its name there."""
        kind = member.type
        if kind == REGULAR:
            self._file(member, parent, name)
        elif kind == DIRECTORY:
            self._directory(member, parent, name, path)
        elif kind == SYMLINK:
            self._symlink(member, parent, name)
        elif kind == HARD_LINK:
            self._hard_link(member, parent, name, path)
        else:
            self._special(member, parent, name)

    def _file(self, member: Member, parent: int, name: bytes) -> None:
        try:
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if member.size > _SMALL:
                for piece in self.reader.data_pieces():
                    write_all(descriptor, piece)
            elif member.size:
                write_all(descriptor, self.reader.data())
            self._describe(member, descriptor)
            os.utime(descriptor, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(descriptor)
        self.result.size += member.size

    def _directory(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        hides = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                hides = _is_whiteout(status)
                self._clear(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        descriptor = os.open(name, _OLD_DIRECTORY, dir_fd=parent)
        self.tree.keep(path, descriptor)
        if hides:
            os.setxattr(descriptor, OPAQUE_XATTR, b"y")
        self._describe(member, descriptor)
        self._remember_time(path, member.mtime_ns)

    def _root(self, member: Member) -> None:
        if member.type != DIRECTORY:
            raise InvalidArchive("the layer's root is no directory")
        self._describe(member, self.tree.root)
        self._remember_time(b"", member.mtime_ns)

    def _symlink(self, member: Member, parent: int, name: bytes) -> None:
        if not member.linkname:
            raise InvalidArchive(f"member {show(member.name)}: a symbolic link to nothing")
        try:
            os.symlink(member.linkname, name, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            os.symlink(member.linkname, name, dir_fd=parent)
        os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if member.xattrs:
            self._set_xattrs(member, b"/proc/self/fd/%d/%s" % (parent, name), follow=False)
        os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _hard_link(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        """Links to a member of the same layer. The target's parent is resolved like any other; linkat follows no link."""
        target = member_path(member.linkname)
        target_parent, _, target_name = target.rpartition(b"/")
        if not target or target == path:
            raise InvalidArchive(f"member {show(path)}: a hard link to itself or to the root")
        source = self.tree.lookup(target_parent) if target_parent else os.dup(self.tree.root)
        try:
            status = os.stat(target_name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) or _is_whiteout(status):
                raise InvalidArchive(f"member {show(path)}: a hard link to a directory or to a removed file")
            try:
                os.link(target_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                self._clear(parent, name)
                os.link(target_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def _special(self, member: Member, parent: int, name: bytes) -> None:
        if member.type != FIFO:
            self._check_device(member)
        device = os.makedev(member.devmajor, member.devminor)
        mode = _KINDS[member.type] | 0o600
        try:
            os.mknod(name, mode, device, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            os.mknod(name, mode, device, dir_fd=parent)
        # Opening a device may have effects and opening a FIFO waits: O_PATH does neither.
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(descriptor).st_mode) != _KINDS[member.type]:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))  # a container has put something else there
            link = b"/proc/self/fd/%d" % descriptor
            os.chown(link, member.uid, member.gid)
            os.chmod(link, member.mode)
            if member.xattrs:
                self._set_xattrs(member, link)
            os.utime(link, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(descriptor)

    def _check_device(self, member: Member) -> None:
        if member.type == CHAR_DEVICE and member.devmajor == member.devminor == 0:
            raise InvalidArchive(f"member {show(member.name)}: character device 0:0, which overlayfs takes for a removed file")
        if member.devmajor >= 1 << 12 or member.devminor >= 1 << 20:
            raise InvalidArchive(f"member {show(member.name)}: device {member.devmajor}:{member.devminor} is out of range")

    def _describe(self, member: Member, descriptor: int) -> None:
        """Owner first: a change of owner clears the set-id bits and the capabilities."""
        os.fchown(descriptor, member.uid, member.gid)
        os.fchmod(descriptor, member.mode)
        if member.xattrs:
            self._set_xattrs(member, descriptor)

    def _set_xattrs(self, member: Member, target: int | bytes, follow: bool = True) -> None:
        for name, value in (member.xattrs or {}).items():
            if not name.startswith(KEPT_XATTRS) or name.startswith(DROPPED_XATTRS):
                continue
            if b"\0" in name or len(name) > 255:
                raise InvalidArchive(f"member {show(member.name)}: an attribute with a wrong name")
            try:
                os.setxattr(target, name, value, follow_symlinks=follow)
            except OSError as error:
                # A symbolic link has no user attributes (EPERM), and not every file system has all name spaces.
                if name == b"security.capability" or error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
                self.result.skipped_xattrs += 1

    def _marker(self, member: Member, parent_path: bytes, name: bytes, path: bytes) -> bool:
        """Deals with whiteouts; False for a name that only looks like one somewhere in the middle of a part."""
        for part in parent_path.split(b"/"):
            kind = kind_of(part)
            if kind is NameKind.META:
                return True
            if kind is not NameKind.ORDINARY:
                raise InvalidArchive(f"member {show(path)}: lies in a whiteout")
        kind = kind_of(name)
        if kind in (NameKind.ORDINARY, NameKind.META):
            return kind is NameKind.META
        if kind is NameKind.INVALID or member.type not in (REGULAR, HARD_LINK):
            raise InvalidArchive(f"member {show(path)}: no valid whiteout")
        parent = self.tree.directory(parent_path)
        if kind is NameKind.OPAQUE:
            os.setxattr(parent, OPAQUE_XATTR, b"y")
        else:
            self._whiteout(parent, whiteout_target(name))
        return True

    def _whiteout(self, parent: int, name: bytes) -> None:
        """Speaks of the layers below only: what this layer has under the name stays, and hides them by itself."""
        try:
            os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                descriptor = os.open(name, _OLD_DIRECTORY, dir_fd=parent)
                try:
                    os.setxattr(descriptor, OPAQUE_XATTR, b"y")
                finally:
                    os.close(descriptor)

    def _clear(self, parent: int, name: bytes) -> None:
        """Makes way for a member of the same name."""
        remove_tree(parent, name)
        self.tree.forget()

    def _remember_time(self, path: bytes, mtime_ns: int) -> None:
        """A directory's time changes with each entry made in it, so it is set when there are no more."""
        if len(self._directory_times) >= MAX_DIRECTORIES:
            raise InvalidArchive(f"the archive has more than {MAX_DIRECTORIES} directories")
        self._directory_times[path] = mtime_ns

    def set_directory_times(self) -> None:
        for path, mtime_ns in self._directory_times.items():
            try:
                descriptor = self.tree.lookup(path) if path else os.dup(self.tree.root)
            except OSError as error:
                if error.errno in _BLAMED:
                    continue  # replaced by a later member
                raise
            try:
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(descriptor)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _refused(path: bytes, error: OSError) -> Exception:
    """What the archive is to blame for becomes `InvalidArchive`; a full or failing disk stays `OSError`."""
    if error.errno in _BLAMED:
        return InvalidArchive(f"member {show(path)}: {error.strerror}")
    return error

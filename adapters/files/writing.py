"""Archives into a container: unpacked in a directory of it, as ``docker cp`` does.

Members are made as in a layer (`docket.adapters.images.unpack`), but names have no second meaning here, what is there already is
replaced or, for directories, kept, and links among a member's parents lead where they would lead the container. Nothing is looked
up but beneath the root's descriptor, whatever is renamed meanwhile (S17, S19, S20); nothing is executed to decompress (S18).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from docket.adapters.files.looking import RESOLVE, Foreign, Name, look, not_found, refusal
from docket.adapters.images.decompress import beginning, compression_of, decompressed
from docket.adapters.images.errors import InvalidArchive, disk_errors
from docket.adapters.images.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from docket.adapters.images.paths import show
from docket.adapters.images.tar_reader import DIRECTORY, ByteStream, Member, TarLimits, TarReader
from docket.adapters.images.tree import Tree
from docket.adapters.images.unpack import Unpacker
from docket.domain.confinement.users import UserNotFound, resolve_user
from docket.domain.container_files import ContainerTree, Extraction, View
from docket.domain.errors import Forbidden, InvalidArgument, Rejected

ROOT_IS_READ_ONLY = "container rootfs is marked read-only"
MOUNT_IS_READ_ONLY = "mounted volume is marked read-only"

_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EXDEV})
"""What a path of the container's own making may lead to: nothing, or nowhere (the kernel's answers to `RESOLVE`)."""
_MAX_USER_FILE = 16 * 1024 * 1024
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DIRECT = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS


def write_archive(view: View, name: Name, tree: ContainerTree, chunks: Iterator[bytes], how: Extraction) -> None:
    """Unpacks into the directory that the name means, and closes the view. Raises `Rejected`, `PortError`."""
    try:
        with disk_errors("write the container's files"):
            directory = _directory(view.root, name, tree)
            try:
                _check_writable(directory, name, tree)
                owner = _owner(view.root, tree.user) if how.as_user and tree.user else None
                _unpack(view.root, directory, name, chunks, how, owner)
            finally:
                os.close(directory)
    except InvalidArchive as error:
        raise Rejected(InvalidArgument(f"cannot unpack the archive: {error}")) from error
    finally:
        view.close()


def _directory(root: int, name: Name, tree: ContainerTree) -> int:
    """The directory to unpack in, whatever links lead to it."""
    try:
        descriptor = openat2(root, name.joined, _LIST, RESOLVE)
    except OSError as error:
        if error.errno == errno.ENOTDIR and _is_there(root, name):
            raise Rejected(InvalidArgument("extraction point is not a directory")) from error
        raise refusal(error, name, tree) from error
    if Foreign()(descriptor, os.fstat(descriptor)):
        os.close(descriptor)
        raise not_found(name, tree)
    return descriptor


def _is_there(root: int, name: Name) -> bool:
    try:
        os.close(look(root, name))
    except OSError:
        return name.inside
    return True


def _check_writable(directory: int, name: Name, tree: ContainerTree) -> None:
    if not os.fstatvfs(directory).f_flag & os.ST_RDONLY:
        return
    path = "/" + os.fsdecode(b"/".join(name.parts)) + "/"
    mounted = any(path.startswith(target.rstrip("/") + "/") for target in tree.mounts)
    raise Rejected(Forbidden(MOUNT_IS_READ_ONLY if mounted else ROOT_IS_READ_ONLY))


def _owner(root: int, user: str) -> tuple[int, int]:
    """The ids of the container's user, by its own files, which are read and never executed (S18)."""
    passwd, group = (_user_file(root, path) for path in (b"etc/passwd", b"etc/group"))
    try:
        found = resolve_user(os.fsencode(user), passwd, group, [])
    except UserNotFound as error:
        raise Rejected(InvalidArgument(str(error))) from error
    return found.uid, found.gid


def _user_file(root: int, path: bytes) -> bytes:
    """A regular file of bounded size; nothing where there is none (S12). Raises `OSError` for what the disk refuses."""
    try:
        descriptor = openat2(root, path, os.O_PATH, RESOLVE)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        return b""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_USER_FILE:
            return b""
        with open(b"/proc/self/fd/%d" % descriptor, "rb") as file:
            return file.read(_MAX_USER_FILE)
    finally:
        os.close(descriptor)


def _unpack(
    root: int, directory: int, name: Name, chunks: Iterator[bytes], how: Extraction, owner: tuple[int, int] | None
) -> None:
    head, chunks = beginning(chunks)
    if not head:
        return
    limits = TarLimits()
    stream = ByteStream(decompressed(chunks, compression_of(head)), limits.total_bytes)
    reader = TarReader(stream, limits)
    tree = _ContainerTree(directory, root, name.joined)
    unpacker = _Extractor(reader, tree, how.keep_kinds, owner)
    try:
        for member in reader:
            unpacker.add(member)
        unpacker.set_directory_times()
        stream.drain()
    finally:
        tree.close()


class _ContainerTree(Tree):
    """Directories below the one that is unpacked in. Mounts of the container are crossed, and absolute links begin at its root."""

    def __init__(self, directory: int, container_root: int, path: bytes) -> None:
        super().__init__(directory)
        self._container_root = container_root
        self._path = path

    def lookup(self, path: bytes) -> int:
        try:
            return openat2(self.root, path, _LIST, _DIRECT)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return openat2(self._container_root, self._path + b"/" + path, _LIST, RESOLVE)


class _Extractor(Unpacker):
    def __init__(self, reader: TarReader, tree: Tree, keep_kinds: bool, owner: tuple[int, int] | None) -> None:
        super().__init__(reader, tree)
        self._keep_kinds = keep_kinds
        self._owner = owner

    def place(self, member: Member, path: bytes) -> None:
        """No name is a marker here, and the directory that is unpacked in stays as it is."""
        if not path:
            return
        if self._owner is not None:
            member.uid, member.gid = self._owner
        parent_path, _, name = path.rpartition(b"/")
        parent = self.tree.directory(parent_path)
        if self._keep_kinds:
            self._check_kind(member, parent, name, path)
        self.create(member, parent, name, path)

    def _check_kind(self, member: Member, parent: int, name: bytes, path: bytes) -> None:
        try:
            is_directory = stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return
        if is_directory == (member.type == DIRECTORY):
            return
        old, new = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
        raise InvalidArchive(f"cannot overwrite {old} {show(path)} with {new} {show(path)}")

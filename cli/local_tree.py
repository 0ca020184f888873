"""The local side of `docket cp`: a tree becomes an archive, an archive becomes a tree.

What comes from a container is a stranger's: a member is written beneath the directory's descriptor, its parents are opened one by
one and must be directories, nothing is written through a link, and no file is set to an owner. Attributes are not kept.
"""

from __future__ import annotations

import os
import stat

from docket.cli import tar
from docket.cli.context import write_all
from docket.cli.errors import CliError
from docket.cli.tar import Member, Reader, header, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {stat.S_IFCHR: tar.CHARACTER, stat.S_IFBLK: tar.BLOCK_DEVICE, stat.S_IFIFO: tar.FIFO}
_PIECE = 1 << 18


def archive_of(directory: bytes, base: bytes, name: bytes) -> Iterator[bytes]:
    """What ``base`` in a directory is, with all that lies in it, called ``name`` in the archive."""
    yield from _packed(os.path.join(directory, base) if base else directory, name, {})
    yield tar.END


def _packed(path: bytes, name: bytes, seen: dict[tuple[int, int], bytes]) -> Iterator[bytes]:
    status = os.lstat(path)
    mode = stat.S_IFMT(status.st_mode)
    if mode == stat.S_IFSOCK:
        return
    member = Member(name, tar.REGULAR, stat.S_IMODE(status.st_mode), 0, status.st_mtime_ns)
    member.uid, member.gid = status.st_uid, status.st_gid
    if mode == stat.S_IFDIR:
        member.kind = tar.DIRECTORY
        yield header(member)
        prefix = name.rstrip(b"/") + b"/"
        for entry in sorted(os.listdir(path)):
            yield from _packed(os.path.join(path, entry), prefix + entry, seen)
        return
    first = seen.setdefault((status.st_dev, status.st_ino), name) if status.st_nlink > 1 else name
    if first != name:
        member.kind, member.link = tar.HARD_LINK, first
        yield header(member)
    elif mode == stat.S_IFLNK:
        member.kind, member.link = tar.SYMLINK, os.readlink(path)
        yield header(member)
    elif mode == stat.S_IFREG:
        yield from _file(path, member, status.st_size)
    else:
        member.kind = _KINDS[mode]
        member.device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if mode != stat.S_IFIFO else (0, 0)
        yield header(member)


def _file(path: bytes, member: Member, size: int) -> Iterator[bytes]:
    """As long as it was when it was looked at, whatever is written to it meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        member.size = size
        yield header(member)
        left = size
        while left:
            piece = os.read(descriptor, min(left, _PIECE)) or bytes(min(left, _PIECE))
            left -= len(piece)
            yield piece
        yield bytes(-size % tar.BLOCK)
    finally:
        os.close(descriptor)


def unpack(reader: Reader, directory: str) -> None:
    """Makes the archive's members in the directory, which exists. A directory is never replaced by something else, nor the
    other way round."""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    times: dict[tuple[bytes, ...], int] = {}
    try:
        for member in reader:
            parts = _parts(member.name)
            if parts:
                parent = _parent(root, parts, member)
                try:
                    _make(reader, member, root, parent, parts, times)
                finally:
                    os.close(parent)
        for parts, time in reversed(times.items()):
            _set_time(root, parts, time)
    finally:
        os.close(root)


def _parts(name: bytes) -> tuple[bytes, ...]:
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise CliError(f"the archive has a member {shown(name)}, which could leave the directory")
    return parts


def _parent(root: int, parts: tuple[bytes, ...], member: Member) -> int:
    """A new descriptor of the directory that a member lies in; what is missing of it is made."""
    current = os.dup(root)
    for part in parts[:-1]:
        try:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=current)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=current)
                below = os.open(part, _DIRECTORY, dir_fd=current)
        except NotADirectoryError:
            raise CliError(f"cannot write {shown(member.name)}: {shown(part)} is a link or a file, not a directory") from None
        finally:
            os.close(current)
        current = below
    return current


def _make(
    reader: Reader, member: Member, root: int, parent: int, parts: tuple[bytes, ...], times: dict[tuple[bytes, ...], int]
) -> None:
    name = parts[-1]
    try:
        old = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        old = None
    if old is not None:
        _check_kind(member, stat.S_ISDIR(old.st_mode))
        if not stat.S_ISDIR(old.st_mode):
            os.unlink(name, dir_fd=parent)
    time = (member.mtime_ns, member.mtime_ns)
    if member.kind == tar.DIRECTORY:
        if old is None:
            os.mkdir(name, 0o700, dir_fd=parent)
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            os.fchmod(descriptor, member.mode)
        finally:
            os.close(descriptor)
        times[parts] = member.mtime_ns
    elif member.kind in (tar.REGULAR, b"\0", b"7"):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            for piece in reader.data():
                write_all(descriptor, piece)
            os.fchmod(descriptor, member.mode)
            os.utime(descriptor, ns=time)
        finally:
            os.close(descriptor)
    elif member.kind == tar.SYMLINK:
        os.symlink(member.link, name, dir_fd=parent)
        os.utime(name, ns=time, dir_fd=parent, follow_symlinks=False)
    elif member.kind == tar.HARD_LINK:
        target = _parts(member.link)
        source = _parent(root, target or (b"",), member)
        try:
            os.link(target[-1] if target else b"", name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)
    else:
        _make_special(member, parent, name)


def _make_special(member: Member, parent: int, name: bytes) -> None:
    kinds = {kind: mode for mode, kind in _KINDS.items()}
    if member.kind not in kinds:
        raise CliError(f"the archive's member {shown(member.name)} is of an unknown kind")
    os.mknod(name, kinds[member.kind] | (member.mode & 0o777), os.makedev(*member.device), dir_fd=parent)
    os.utime(name, ns=(member.mtime_ns, member.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _check_kind(member: Member, is_directory: bool) -> None:
    if is_directory == (member.kind == tar.DIRECTORY):
        return
    old, new = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
    raise CliError(f'cannot overwrite {old} "{shown(member.name)}" with {new} "{shown(member.name)}"')


def _set_time(root: int, parts: tuple[bytes, ...], time: int) -> None:
    """A directory's time is set when nothing more is made in it; one that has been replaced meanwhile has its own."""
    current = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
        os.utime(current, ns=(time, time))
    except (FileNotFoundError, NotADirectoryError):
        return
    finally:
        os.close(current)

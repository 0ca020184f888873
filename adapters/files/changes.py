"""What a writable layer changes of the layers below it, in the words of ``docker diff``: 0 modified, 1 added, 2 deleted.

As Docker's engine says it, which compares the two trees that are seen: a file is modified when its mode, owner, device, size, time
or capability differs, a directory when its mode or owner does, and so is every directory above a change. What lay in a deleted
directory is not told one by one. (Docker tells them in no order, docket in that of the paths.)

The writable layer is walked by descriptors (S17), beside it the directories of the layers below that lie under the same path.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

import msgspec

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.paths import MAX_DEPTH, show
from docket.adapters.images.unpack import OPAQUE_XATTR
from docket.domain.container_files import FileChange

MODIFIED, ADDED, DELETED = 0, 1, 2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_SECOND_NS = 1_000_000_000


class _Below(msgspec.Struct):
    """What the layers below have under one path: the top-most of it, and the directories that show together, top-most first."""

    status: os.stat_result | None
    directories: list[int]
    capability: bytes | None = None

    def close(self) -> None:
        for descriptor in self.directories:
            os.close(descriptor)


def changes_of(upperdir: str, lowerdirs: Sequence[str], placeholders: frozenset[str]) -> tuple[FileChange, ...]:
    """Compares the layers, ``lowerdirs`` top-most first. Raises `OSError`, and `InvalidArchive` for a tree too deep."""
    opened: list[int] = []
    try:
        for path in (upperdir, *lowerdirs):
            try:
                opened.append(os.open(path, _DIRECTORY))
            except FileNotFoundError:
                if path == upperdir:
                    return ()  # it has never been started
                raise
        comparison = _Comparison(frozenset(map(os.fsencode, placeholders)))
        comparison.directory(opened[0], opened[1:], b"")
    finally:
        for descriptor in opened:
            os.close(descriptor)
    found = sorted(comparison.found.items())
    return tuple(FileChange(os.fsdecode(b"/" + path), kind) for path, kind in found)


class _Comparison:
    def __init__(self, placeholders: frozenset[bytes]) -> None:
        self.found: dict[bytes, int] = {}
        self._placeholders = placeholders

    def directory(self, upper: int, lowers: Sequence[int], path: bytes, depth: int = 0) -> None:
        """Compare what is in a directory; ``lowers`` are the directories that show through from below."""
        if depth > MAX_DEPTH:
            raise InvalidArchive(f"{show(path)}…: deeper than {MAX_DEPTH} directories")
        names = sorted(map(os.fsencode, os.listdir(upper)))
        prefix = path + b"/" if path else b""
        for name in names:
            try:
                descriptor = os.open(name, _LOOK, dir_fd=upper)
            except FileNotFoundError:
                continue  # gone since it was listed: the container runs
            try:
                self._entry(descriptor, name, lowers, prefix + name, depth)
            finally:
                os.close(descriptor)
        if lowers and _opaque(upper):
            for name in _visible(lowers) - set(names):
                self.found[prefix + name] = DELETED

    def _entry(self, descriptor: int, name: bytes, lowers: Sequence[int], path: bytes, depth: int) -> None:
        status = os.fstat(descriptor)
        below = _below(lowers, name)
        try:
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                if below.status is not None:
                    self.found[path] = DELETED
                return
            before = len(self.found)
            if stat.S_ISDIR(status.st_mode):
                self._inside(descriptor, below, path, depth)
            is_changed = len(self.found) > before
            if below.status is None:
                if is_changed or not self._is_placeholder(status, path):
                    self.found[path] = ADDED
            elif is_changed or _differs(descriptor, status, below):
                self.found[path] = MODIFIED
        finally:
            below.close()

    def _inside(self, descriptor: int, below: _Below, path: bytes, depth: int) -> None:
        readable = os.open(b".", _DIRECTORY, dir_fd=descriptor)
        try:
            self.directory(readable, below.directories, path, depth + 1)
        finally:
            os.close(readable)

    def _is_placeholder(self, status: os.stat_result, path: bytes) -> bool:
        """An empty file or directory that the engine made to mount on; whatever is in it counts before."""
        return path in self._placeholders and (
            stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and not status.st_size)
        )


def _differs(descriptor: int, status: os.stat_result, below: _Below) -> bool:
    old = below.status
    assert old is not None
    if (status.st_mode, status.st_uid, status.st_gid, status.st_rdev) != (old.st_mode, old.st_uid, old.st_gid, old.st_rdev):
        return True
    if stat.S_ISDIR(status.st_mode):
        return False
    return (
        status.st_size != old.st_size
        or not _same_time(status.st_mtime_ns, old.st_mtime_ns)
        or (_capability(b"/proc/self/fd/%d" % descriptor, follow=True) != below.capability)
    )


def _same_time(one_ns: int, other_ns: int) -> bool:
    """A time without a fraction is one that was cut, as in layers that Docker made."""
    (one, one_rest), (other, other_rest) = divmod(one_ns, _SECOND_NS), divmod(other_ns, _SECOND_NS)
    return one == other and (one_rest == other_rest or not one_rest or not other_rest)


def _capability(path: bytes, *, follow: bool = False) -> bytes | None:
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def _below(lowers: Sequence[int], name: bytes) -> _Below:
    """Look a name up in directories that show together: whiteouts and opaque marks of the upper ones hide what is under them."""
    found = _Below(None, [])
    for lower in lowers:
        try:
            status = os.stat(name, dir_fd=lower, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            break
        is_directory = stat.S_ISDIR(status.st_mode)
        if found.status is None:
            found.status = status
            found.capability = None if is_directory else _capability(b"/proc/self/fd/%d/%s" % (lower, name))
        if not is_directory:
            break
        descriptor = os.open(name, _DIRECTORY, dir_fd=lower)
        found.directories.append(descriptor)
        if _opaque(descriptor):
            break
    return found


def _visible(lowers: Sequence[int]) -> set[bytes]:
    """The names that directories show together."""
    seen: dict[bytes, bool] = {}
    for lower in lowers:
        for name in map(os.fsencode, os.listdir(lower)):
            if name not in seen:
                status = os.stat(name, dir_fd=lower, follow_symlinks=False)
                seen[name] = not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0)
    return {name for name, is_there in seen.items() if is_there}


def _opaque(descriptor: int) -> bool:
    return OPAQUE_XATTR in os.listxattr(descriptor) and os.getxattr(descriptor, OPAQUE_XATTR) == b"y"

"""What a writable layer changes of the layers below it, in the words of ``docker diff``: 0 modified, 1 added, 2 deleted.

As Docker's overlay2 says it: a whiteout is a deletion, and so is an opaque directory that hides one; a directory counts as modified
only when its mode, size or time differ, or when something was added to or deleted from it. Unlike there, a path that a layer
between has removed is not taken for one that the image has.

The tree is walked by descriptors (S17), beside it the directories of the layers below that lie under the same path.
"""

from __future__ import annotations

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


class _Below(msgspec.Struct):
    """What the layers below have under one path: the top-most of it, and the directories that show together, top-most first."""

    status: os.stat_result | None
    directories: list[int]

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

    def directory(self, upper: int, lowers: Sequence[int], path: bytes, depth: int = 0) -> bool:
        """Compare what is in a directory; whether it holds something that the engine made."""
        if depth > MAX_DEPTH:
            raise InvalidArchive(f"{show(path)}…: deeper than {MAX_DEPTH} directories")
        made = False
        for name in sorted(map(os.fsencode, os.listdir(upper))):
            try:
                descriptor = os.open(name, _LOOK, dir_fd=upper)
            except FileNotFoundError:
                continue  # gone since it was listed: the container runs
            try:
                made |= self._entry(descriptor, name, lowers, path + b"/" + name if path else name, depth)
            finally:
                os.close(descriptor)
        return made

    def _entry(self, descriptor: int, name: bytes, lowers: Sequence[int], path: bytes, depth: int) -> bool:
        status = os.fstat(descriptor)
        below = _below(lowers, name)
        try:
            if path in self._placeholders and below.status is None and not stat.S_ISCHR(status.st_mode):
                if stat.S_ISREG(status.st_mode):
                    return status.st_size == 0 or self._note(path, ADDED)
                if not self._lists(descriptor, (), path, depth):
                    return True
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                self._note(path, DELETED)
            elif stat.S_ISDIR(status.st_mode):
                self._compare_directories(descriptor, status, below, path, depth)
            else:
                self._note(path, ADDED if below.status is None else MODIFIED)
        finally:
            below.close()
        return False

    def _lists(self, descriptor: int, lowers: Sequence[int], path: bytes, depth: int) -> bool:
        """Whether a directory that may be a placeholder holds anything that the container made."""
        before = len(self.found)
        readable = os.open(b".", _DIRECTORY, dir_fd=descriptor)
        try:
            self.directory(readable, lowers, path, depth + 1)
        finally:
            os.close(readable)
        return len(self.found) > before

    def _compare_directories(self, descriptor: int, status: os.stat_result, below: _Below, path: bytes, depth: int) -> None:
        readable = os.open(b".", _DIRECTORY, dir_fd=descriptor)
        try:
            made = self.directory(readable, below.directories, path, depth + 1)
            opaque = _opaque(readable)
        finally:
            os.close(readable)
        old = below.status
        if old is None:
            self._note(path, ADDED)
        elif opaque and stat.S_ISDIR(old.st_mode):
            self._note(path, DELETED)
        elif not stat.S_ISDIR(old.st_mode) or not _same(status, old, made):
            self._note(path, MODIFIED)

    def _note(self, path: bytes, kind: int) -> bool:
        """What is added or deleted has modified the directory that it lies in."""
        self.found[path] = kind
        parent = path.rpartition(b"/")[0]
        if kind != MODIFIED and parent:
            self.found.setdefault(parent, MODIFIED)
        return False


def _same(status: os.stat_result, old: os.stat_result, made: bool) -> bool:
    """Where the engine itself made something, size and time say nothing. A change of owner alone is none to Docker either."""
    return status.st_mode == old.st_mode and (made or (status.st_size, status.st_mtime_ns) == (old.st_size, old.st_mtime_ns))


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
        found.status = found.status or status
        if not stat.S_ISDIR(status.st_mode):
            break
        descriptor = os.open(name, _DIRECTORY, dir_fd=lower)
        found.directories.append(descriptor)
        if _opaque(descriptor):
            break
    return found


def _opaque(descriptor: int) -> bool:
    return OPAQUE_XATTR in os.listxattr(descriptor) and os.getxattr(descriptor, OPAQUE_XATTR) == b"y"

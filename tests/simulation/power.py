"""Power cuts under real file code: what it did to a directory tree is traced, and every state that a power cut may leave is made.

POSIX promises what was fsynced and nothing else: bytes by their file, names by their directory, and everything by a
syncfs. What was not synced may be there, in any combination: a rename without the data, one name without the other, half a write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from errno import EIO
from pathlib import Path
from random import Random
from typing import Any

import msgspec


class Change(msgspec.Struct):
    """One change: ``kind`` is write (bytes of a file), add or remove (a name). ``synced`` is the step that made it durable."""

    kind: str
    path: str
    inode: int = 0
    data: bytes = b""
    directory: bool = False
    step: int = 0
    synced: int | None = None
    doomed: bool = False
    """An fsync of it failed: Linux has thrown it away, and a second fsync says nothing (fsync(2), EIO)."""


class Tracer:
    """Stands in a module's place of ``os``. Fails the ``fail_at``-th write or fsync (from 1) with EIO, when that is given."""

    def __init__(self, root: Path, fail_at: int | None = None) -> None:
        self._root = os.path.realpath(root)
        self._paths: dict[int, str] = {}
        self._inodes: dict[str, int] = {}
        self._next = 0
        self._fallible = 0
        self._fail_at = fail_at
        self.changes: list[Change] = []
        self.step = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    # What is traced.

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        full = self._full(path, dir_fd)
        there = os.path.lexists(full)
        descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
        self._paths[descriptor] = full
        if flags & os.O_CREAT and not there:
            self._add(full, self._new_inode())
        return descriptor

    def close(self, descriptor: int) -> None:
        os.close(descriptor)
        self._paths.pop(descriptor, None)

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        os.mkdir(path, mode, dir_fd=dir_fd)
        self._add(self._full(path, dir_fd), self._new_inode(), directory=True)

    def write(self, descriptor: int, data: Any) -> int:
        self._may_fail("write")
        written = os.write(descriptor, data)
        path = self._paths[descriptor]
        self._note(Change("write", path, self._inodes[path], bytes(data)[:written]))
        return written

    def rename(self, old: Any, new: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        before, after = self._full(old, src_dir_fd), self._full(new, dst_dir_fd)
        os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        inode = self._inodes.pop(before)
        self._note(Change("remove", before, inode))
        self._add(after, inode, directory=os.path.isdir(after))
        for descriptor, path in self._paths.items():
            if path == before:
                self._paths[descriptor] = after

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        os.rmdir(path, dir_fd=dir_fd)
        full = self._full(path, dir_fd)
        self._note(Change("remove", full, self._inodes.pop(full)))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        os.unlink(path, dir_fd=dir_fd)
        full = self._full(path, dir_fd)
        self._note(Change("remove", full, self._inodes.pop(full)))

    def fsync(self, descriptor: int) -> None:
        path = self._paths[descriptor]
        self.step += 1
        inode = self._inodes.get(path)
        waiting = [
            change
            for change in self.changes
            if change.synced is None
            and not change.doomed
            and (change.inode == inode if change.kind == "write" else os.path.dirname(change.path) == path)
        ]
        try:
            self._may_fail("fsync")
        except OSError:
            for change in waiting:
                change.doomed = True
            raise
        for change in waiting:
            change.synced = self.step

    def syncfs(self, descriptor: int) -> None:
        """Everything is durable."""
        self._may_fail("fsync")
        self.step += 1
        for change in self.changes:
            change.synced = change.synced or (None if change.doomed else self.step)

    # How.

    def _may_fail(self, call: str) -> None:
        self._fallible += 1
        if self._fallible == self._fail_at:
            raise OSError(EIO, os.strerror(EIO), call)

    def _full(self, path: Any, dir_fd: int | None) -> str:
        name = os.fsdecode(path)
        return os.path.join(self._paths[dir_fd], name) if dir_fd is not None else name

    def _new_inode(self) -> int:
        self._next += 1
        return self._next

    def _add(self, path: str, inode: int, *, directory: bool = False) -> None:
        self._inodes[path] = inode
        self._note(Change("add", path, inode, directory=directory))

    def _note(self, change: Change) -> None:
        self.step += 1
        change.step = self.step
        self.changes.append(change)


def states(tracer: Tracer, seed: int = 0, *, samples: int = 3) -> Iterator[tuple[int, list[Change]]]:
    """``(step, the changes that are on disk)`` for power cuts after each step: all that was not synced, none, and some of it."""
    dice = Random(seed)
    for step in range(tracer.step + 1):
        done = [change for change in tracer.changes if change.step <= step and not change.doomed]
        durable = [change for change in done if change.synced is not None and change.synced <= step]
        loose = [change for change in done if change not in durable]
        kept: list[list[Change]] = [loose, []]
        kept += [[change] for change in loose]
        kept += [[change for change in loose if dice.random() < 0.5] for _ in range(samples)]
        for some in kept:
            present = {id(change) for change in (*durable, *some)}
            yield step, [change for change in done if id(change) in present]


def materialise(changes: list[Change], root: str, target: Path, cut: Callable[[bytes], bytes] = lambda data: data) -> None:
    """Make the tree below ``target``; ``cut`` is what becomes of a write that nobody synced."""
    contents: dict[int, bytes] = {}
    names: dict[str, tuple[int, bool]] = {}
    for change in changes:
        if change.kind == "write":
            data = change.data if change.synced is not None else cut(change.data)
            contents[change.inode] = contents.get(change.inode, b"") + data
        elif change.kind == "add":
            names[change.path] = (change.inode, change.directory)
        elif names.get(change.path, (0, False))[0] == change.inode:
            del names[change.path]
    for path, (inode, directory) in sorted(names.items()):
        place = target / os.path.relpath(path, root)
        if directory:
            place.mkdir(parents=True, exist_ok=True)
        elif place.parent.is_dir():
            place.write_bytes(contents.get(inode, b""))

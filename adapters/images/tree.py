"""The directories of a layer while it is unpacked: names become descriptors here, and only here (S19).

Each lookup is one openat2 beneath the layer's root. Without links in the way it is RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
where the archive itself has put a link among the parents (``lib -> usr/lib``, then ``lib/x``), it is RESOLVE_IN_ROOT, which
reads the link as the container would and cannot leave the root either. Mounts are never crossed, magic links never followed.

Open directories are kept, the last `CACHED` of them; whatever replaces a directory or a link must call `forget`.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from docket.adapters.images.paths import show

CACHED = 128
IMPLIED_MODE = 0o755
"""Of directories that an archive uses without having described them; they belong to root."""

_FLAGS = os.O_RDONLY | os.O_DIRECTORY
_DIRECT = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_THROUGH_LINKS = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV


class Tree:
    """Directories below the descriptor ``root``, which stays the caller's."""

    def __init__(self, root: int) -> None:
        self.root = root
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._retired: list[int] = []

    def directory(self, path: bytes) -> int:
        """Returns a descriptor of the directory, made with its parents if it is missing.

        It stays the tree's and is open until the next call.
        Raises `InvalidArchive` where something else than a directory is in the way.
        """
        if self._retired:
            self._close_retired()
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        if not path:
            return self.root
        try:
            return self.keep(path, self.lookup(path))
        except FileNotFoundError:
            return self._make(path)
        except OSError as error:
            raise _in_the_way(path, error) from error

    def lookup(self, path: bytes) -> int:
        """Returns a new descriptor of an existing directory, which is the caller's; raises `OSError`."""
        try:
            return openat2(self.root, path, _FLAGS, _DIRECT)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return openat2(self.root, path, _FLAGS, _THROUGH_LINKS)

    def keep(self, path: bytes, descriptor: int) -> int:
        """Takes over a descriptor of the directory ``path``."""
        old = self._open.pop(path, None)
        if old is not None:
            os.close(old)
        elif len(self._open) >= CACHED:
            os.close(self._open.popitem(last=False)[1])
        self._open[path] = descriptor
        return descriptor

    def forget(self) -> None:
        """Stops using every kept descriptor, because what the names mean has changed."""
        self._retired += self._open.values()
        self._open.clear()

    def close(self) -> None:
        """Closes everything that the tree opened."""
        self.forget()
        self._close_retired()

    def _close_retired(self) -> None:
        while self._retired:
            os.close(self._retired.pop())

    def _make(self, path: bytes) -> int:
        """Makes what is missing of ``path``, from the top."""
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            self._make_one(b"/".join(parts[:count]))
        return self._make_one(path)

    def _make_one(self, path: bytes) -> int:
        parent, _, name = path.rpartition(b"/")
        try:
            descriptor = self._open.get(path)
            if descriptor is None:
                descriptor = self.keep(path, self._create(self.directory(parent), name, path))
        except OSError as error:
            raise _in_the_way(path, error) from error
        return descriptor

    def _create(self, parent: int, name: bytes, path: bytes) -> int:
        try:
            os.mkdir(name, IMPLIED_MODE, dir_fd=parent)
        except FileExistsError:
            return self.lookup(path)
        descriptor = os.open(name, _FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        os.fchmod(descriptor, IMPLIED_MODE)
        os.fchown(descriptor, 0, 0)
        return descriptor


def _in_the_way(path: bytes, error: OSError) -> Exception:
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENOENT, errno.ENAMETOOLONG):
        return InvalidArchive(f"directory {show(path)}: something else lies in the way ({os.strerror(error.errno)})")
    return error

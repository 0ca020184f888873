"""Deleting a directory that strangers have filled: never across a mount, never through a link (S16, S20).

Every directory is opened beneath its parent's descriptor with openat2; one that is a mount point is not entered, and the whole
removal fails with `OSError` EXDEV or EBUSY, so that a forgotten bind mount costs an error and not somebody's data. Depth is
no limit: a tree deeper than `_LEVELS` is cut, its lower part moved up beside the root, so descriptors and the stack stay few.
"""

from __future__ import annotations

import os
import secrets

from docket.adapters.images.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

_LEVELS = 64
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV


def remove_tree(directory: int, name: bytes) -> None:
    """Removes the file, link or directory ``name`` of ``directory``, with all that lies in it.

    ``directory`` must be out of reach of whoever filled the tree, because parts of it are renamed into it. Raises `OSError`:
    EXDEV or EBUSY for a mount point, and whatever else the kernel refuses. Nothing is removed that lies on another mount.
    """
    pending = [name]
    while pending:
        current = pending.pop()
        if not _unlink(directory, current):
            pending += _remove_directory(directory, current, directory, _LEVELS)


def _unlink(directory: int, name: bytes) -> bool:
    """Removes anything but a directory; False for a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    return True


def _remove_directory(parent: int, name: bytes, top: int, levels: int) -> list[bytes]:
    """Empties and removes a directory; returns the names in ``top`` under which too deep parts now lie."""
    descriptor = openat2(parent, name, _FLAGS, _RESOLVE)
    cut: list[bytes] = []
    try:
        # The listing is complete before anything changes: removing while reading may skip entries on some file systems.
        with os.scandir(descriptor) as entries:
            found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_directory in found:
            if not is_directory:
                os.unlink(child, dir_fd=descriptor)
            elif levels:
                cut += _remove_directory(descriptor, child, top, levels - 1)
            else:
                cut.append(_cut(descriptor, child, top))
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)
    return cut


def _cut(parent: int, name: bytes, top: int) -> bytes:
    moved = b".cut-" + secrets.token_hex(8).encode()
    os.rename(name, moved, src_dir_fd=parent, dst_dir_fd=top)
    return moved

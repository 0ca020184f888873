"""Directories and files of the data root: modes that no umask changes (S39), and the order that makes a write durable (S26).

A file becomes visible by a rename, after its bytes are on disk; the rename is durable when its directory is.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from contextlib import suppress

DIRECTORY_MODE = 0o710
FILE_MODE = 0o600

_syncfs = ctypes.CDLL(None, use_errno=True).syncfs
_syncfs.argtypes = [ctypes.c_int]
_syncfs.restype = ctypes.c_int


def make_directory(name: str | bytes, mode: int = DIRECTORY_MODE, directory: int | None = None, *, durable: bool = True) -> int:
    """Makes the directory unless it exists, gives it exactly ``mode``, and returns a descriptor of it.

    A new one is ``durable``: what is made durable in it later cannot vanish with it. Raises `OSError` (ENOTDIR, ELOOP) where
    the name is a file or a link.
    """
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        pass
    else:
        if durable:
            _sync_parent(name, directory)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return _with_mode(os.open(name, flags, dir_fd=directory), mode)


def _with_mode(descriptor: int, mode: int) -> int:
    """The descriptor, whose file has exactly ``mode`` now, whatever the umask (S39); closed when that fails."""
    try:
        os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _sync_parent(name: str | bytes, directory: int | None) -> None:
    parent = directory if directory is not None else os.open(os.path.dirname(name) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    except OSError:
        os.rmdir(name, dir_fd=directory)  # a second fsync would not tell: the next one begins from the start
        raise
    finally:
        if parent != directory:
            os.close(parent)


def new_file(directory: int, name: str, mode: int = FILE_MODE) -> int:
    """Creates the file, which must not exist, with exactly ``mode``; returns a descriptor for reading and writing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return _with_mode(os.open(name, flags, 0o600, dir_fd=directory), mode)


def open_or_make_file(directory: int, name: str, mode: int = FILE_MODE) -> int:
    """Opens the file for reading and writing at its beginning; one that is not there is made with exactly ``mode``."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return _with_mode(os.open(name, flags, 0o600, dir_fd=directory), mode)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes every byte, however many calls it takes."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def replace_file(directory: int, name: str, data: bytes, mode: int = FILE_MODE) -> None:
    """Puts ``data`` under ``name`` so that a reader, or a crash, sees the old file or the new one and never a mixture."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    descriptor = new_file(directory, temporary, mode)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        raise
    os.fsync(directory)


def syncfs(descriptor: int) -> None:
    """Makes everything on the descriptor's file system durable: one call for a whole layer instead of one for each file."""
    if _syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

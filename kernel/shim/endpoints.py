"""What a shim has in the file system and hands to its process: its socket, its exit file, pipes."""

from __future__ import annotations

import _socket
import fcntl
import os
from errno import ENOENT

SOCKET_NAME = "shim.sock"
NEW_SOCKET_NAME = "shim.new"
PIPE_BYTES = 262_144
"""The capacity of an output pipe."""
_F_SETPIPE_SZ = 1031


def listen(directory: str, inode: int | None) -> _socket.socket:
    """Listen on ``shim.sock``; through the directory's descriptor, since a socket's path is at most 107 bytes long.

    The name appears when the socket listens already, and only in the very directory that was made for this shim: an engine
    that recovers meanwhile takes the directory away, and then this shim is not to come to life (`shim_directory`).
    """
    holder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    previous = os.umask(0o177)
    try:
        if inode is not None and os.fstat(holder).st_ino != inode:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), directory)
        listener.bind(f"/proc/self/fd/{holder}/{NEW_SOCKET_NAME}")
        listener.listen(4)
        os.rename(NEW_SOCKET_NAME, SOCKET_NAME, src_dir_fd=holder, dst_dir_fd=holder)
    finally:
        os.umask(previous)
        os.close(holder)
    return listener


def remove_socket(directory: str) -> None:
    """Take the name away; nobody finds the shim any more."""
    try:
        os.unlink(f"{directory}/{SOCKET_NAME}")
    except FileNotFoundError:
        return


def wide_pipe() -> tuple[int, int]:
    """Reading and writing end of a pipe for output, wider than the default where the user's share of pipe memory allows it."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(reader, _F_SETPIPE_SZ, PIPE_BYTES)
    except PermissionError:
        pass  # beyond the user's share of pipe memory: the default size will do
    return reader, writer


def null() -> int:
    """What a process without stdin reads."""
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def read_all(memory: int) -> str:
    """The text in a memfd, which is closed."""
    os.lseek(memory, 0, os.SEEK_SET)
    chunks = []
    while chunk := os.read(memory, 1 << 20):
        chunks.append(chunk)
    os.close(memory)
    return b"".join(chunks).decode()


def leave_standard_streams() -> None:
    """Have /dev/null as stdin, stdout and stderr."""
    nothing = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def write_atomically(path: str, text: str) -> bool:
    """Replace the file at ``path``; False when the disk refused it: then the shim itself has to remember."""
    data = text.encode()
    try:
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, data) < len(data):
                return False
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path)
    except OSError:
        return False
    return True

"""A shim's own directory: how the daemon makes it, finds the shim in it, and keeps a late one from coming to life.

A shim binds ``shim.new``, listens, and renames it to ``shim.sock``: who sees that name sees a shim that listens, or what a dead one
left. A shim that is still on its way when an engine recovers has neither; taking its directory away is what stops it, since it can
bind nowhere else. So the answer "there is no shim" is always true afterwards, too.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from errno import ENOENT, ENOTEMPTY

from docket.kernel.shim.endpoints import NEW_SOCKET_NAME, SOCKET_NAME

_ATTEMPTS = 100
_SIGKILL = 9


def make(path: str) -> int:
    """Make the directory anew; returns its inode, which the shim compares. Raises `OSError`."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        remove(path)
        os.mkdir(path, 0o700)
    return os.stat(path).st_ino


def remove(path: str) -> None:
    """Remove the directory with what a shim leaves in it; one that is gone already is fine. Raises `OSError`."""
    for name in (NEW_SOCKET_NAME, SOCKET_NAME):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}/{name}")
    with suppress(FileNotFoundError):
        os.rmdir(path)


def connect(path: str) -> socket.socket | None:
    """Connect to the shim in a directory; None when there is none, and none will come. Raises `OSError`."""
    for _ in range(_ATTEMPTS):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _connect(connection, path)
        except FileNotFoundError:
            connection.close()
            if _shut(path):
                return None
        except ConnectionRefusedError:
            connection.close()
            remove(path)
            return None
        except BaseException:
            connection.close()
            raise
        else:
            connection.setblocking(False)
            return connection
    raise OSError(ENOTEMPTY, os.strerror(ENOTEMPTY), path)


def _connect(connection: socket.socket, path: str) -> None:
    """Through the directory's descriptor, since a socket's path is at most 107 bytes long."""
    holder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{holder}/{SOCKET_NAME}")
    finally:
        os.close(holder)


def _shut(path: str) -> bool:
    """Keep a shim that does not listen yet from doing so; False when it has just begun to."""
    with suppress(FileNotFoundError):
        os.unlink(f"{path}/{NEW_SOCKET_NAME}")
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno == ENOTEMPTY:
            return False
        if error.errno != ENOENT:
            raise
    return True


def kill_peer(connection: socket.socket) -> None:
    """Kill the shim behind a connection (SO_PEERCRED tells who listens): it does not answer. What it keeps dies with it."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            from signal import pidfd_send_signal

            pidfd_send_signal(pidfd, _SIGKILL)
        finally:
            os.close(pidfd)

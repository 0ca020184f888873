"""The unix socket of the API: whoever may open it is root, so there is no instant at which the wrong people may (S40).

The mode of a unix socket's file is that of the socket's own inode, less the umask. So fchmod(0000) comes before bind(), the group
is set, and only then the mode; the process's umask, which other threads share, is left alone. Everything after bind() acts on a
descriptor of the file itself. Abstract sockets have no permissions at all and are refused (CVE-2020-15257).
"""

import grp
import os
import socket
import stat
from collections.abc import Callable

from docket.adapters.http.errors import ListenError

_MAX_SOCKET_PATH_BYTES = 107


def bind_unix(path: str, *, group: str | int | None, mode: int) -> tuple[socket.socket, Callable[[], None]]:
    """A bound socket that does not listen yet, and what removes its file; raises ListenError.

    A dead socket in the way is replaced, a living one is not. A path longer than 107 bytes, the kernel's limit, is bound through
    a descriptor of its folder.
    """
    directory, name = _split(path)
    gid = _group_id(path, group)
    try:
        folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ListenError(f"cannot listen on '{path}': folder '{directory}': {error.strerror}") from error
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        short = path if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES else f"/proc/self/fd/{folder}/{name}"
        _remove_stale(path, short, name, folder)
        os.fchmod(sock.fileno(), 0)
        sock.bind(short)
        identity = _set_owner_and_mode(name, folder, gid, mode)
    except BaseException as error:
        sock.close()
        os.close(folder)
        if isinstance(error, OSError):
            raise ListenError(f"cannot listen on '{path}': {error.strerror or error}") from error
        raise

    def unlink() -> None:
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == identity:
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return  # Removed by someone else: nothing is left to do.
        finally:
            os.close(folder)

    return sock, unlink


def _split(path: str) -> tuple[str, str]:
    if path.startswith("@") or "\0" in path:
        raise ListenError(f"cannot listen on {path!r}: abstract sockets have no permissions; use unix:///path")
    directory, _, name = path.rpartition("/")
    if not path.startswith("/") or name in ("", ".", ".."):
        raise ListenError(f"cannot listen on '{path}': the socket needs an absolute path, as in unix:///run/docket/docket.sock")
    return directory or "/", name


def _group_id(path: str, group: str | int | None) -> int:
    """The number of a group, -1 to leave it as it is."""
    if group is None:
        return -1
    try:
        return group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ListenError(f"cannot listen on '{path}': there is no group '{group}'; create it or name another") from None


def _remove_stale(path: str, short: str, name: str, folder: int) -> None:
    """Remove a socket nobody answers on; raises ListenError for anything else that is in the way."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenError(f"cannot listen on '{path}': something that is not a socket is there; remove it or use another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(short)
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=folder)
            return
        except BlockingIOError:
            pass  # Its queue is full, so it has an owner.
    raise ListenError(f"cannot listen on '{path}': another process listens there; stop it or use another path")


def _set_owner_and_mode(name: str, folder: int, gid: int, mode: int) -> tuple[int, int]:
    """Open the file to its group, and say which file it is (device, inode)."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError("it was replaced by something else while it was being made")
        handle = f"/proc/self/fd/{descriptor}"
        if gid >= 0:
            os.chown(handle, -1, gid)
        os.chmod(handle, mode)
        return found.st_dev, found.st_ino
    finally:
        os.close(descriptor)

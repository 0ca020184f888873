"""Keeps a second engine off a log: an advisory lock on ``<log>.lock`` that the operating system drops with the process.

The file holds the pid of the holder, for the message to whoever comes second. It is never deleted: deleting a lock file
lets two processes hold locks on two files of one name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from docket.domain.errors import StoreRefused

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # Windows locks bytes and then nobody else can read them: lock one behind the pid

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    try:
        import fcntl
    except ImportError:  # WebAssembly and the like: importing works, opening a log is refused below

        def _try_lock(descriptor: int) -> None:
            raise StoreRefused("this system has no file locks, which an event log on disk needs: use another system")
    else:

        def _try_lock(descriptor: int) -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """The lock on one log. A process forked without exec shares it until both are gone."""

    def __init__(self, database: Path) -> None:
        """Take the lock. Raises StoreRefused, with the pid of the holder, when another process has it."""
        self.path = database.with_name(database.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise StoreRefused(f"event log {database}: the lock {self.path} cannot be opened: {error.strerror}") from error
        try:
            _try_lock(self._descriptor)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreRefused(
                f"event log {database} is in use by {who}: stop that docket daemon, or give this one another data root"
            ) from error
        self._write_pid()

    def _write_pid(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())
        if hasattr(os, "fchmod"):
            os.fchmod(self._descriptor, 0o600)

    def release(self) -> None:
        """Give the lock back. Calling it twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

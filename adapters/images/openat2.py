"""openat2(2): opening a name so that resolution cannot leave a directory (S19, S21).

Needs Linux 5.6. A failed call raises `OSError` with its errno, as the functions of ``os`` do; there is no fall-back to a
plain open, because a weaker lookup would be no protection at all.
"""

from __future__ import annotations

import ctypes
import os

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437
"""The same number on every architecture that Python's Linux builds run on (alpha has another)."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t]
_SIZE = ctypes.sizeof(_OpenHow)


def openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """Returns a close-on-exec descriptor for ``path`` below ``directory``; raises `OSError`, also for a NUL in the path."""
    if b"\0" in path:
        raise ValueError("embedded null byte in path")
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    while True:
        result: int = _syscall(_SYS_OPENAT2, directory, path, how, _SIZE)
        if result >= 0:
            return result
        number = ctypes.get_errno()
        # EAGAIN: somebody renamed a directory while ".." was looked at (openat2(2)); EINTR: a signal came.
        if number not in (11, 4):
            raise OSError(number, os.strerror(number), os.fsdecode(path))

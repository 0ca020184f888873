"""Linux's error numbers and texts, wherever the model runs, and the exception that carries one out of a modelled call.

The standard library's `errno` gives the numbers of the system that Python runs on; a plan recorded on Linux and a test on
another system have to agree on Linux's.
"""

from __future__ import annotations

EPERM = 1
ENOENT = 2
ESRCH = 3
EINTR = 4
EIO = 5
E2BIG = 7
ENOEXEC = 8
ECHILD = 10
EAGAIN = 11
ENOMEM = 12
EACCES = 13
EBUSY = 16
EEXIST = 17
EXDEV = 18
ENODEV = 19
ENOTDIR = 20
EISDIR = 21
EINVAL = 22
EMFILE = 24
ENOSPC = 28
EROFS = 30
ERANGE = 34
ENAMETOOLONG = 36
ENOSYS = 38
ENOTEMPTY = 39
ELOOP = 40
EOPNOTSUPP = 95
ETIMEDOUT = 110

_TEXTS = {
    EPERM: "Operation not permitted",
    ENOENT: "No such file or directory",
    ESRCH: "No such process",
    EINTR: "Interrupted system call",
    EIO: "Input/output error",
    E2BIG: "Argument list too long",
    ENOEXEC: "Exec format error",
    ECHILD: "No child processes",
    EAGAIN: "Resource temporarily unavailable",
    ENOMEM: "Cannot allocate memory",
    EACCES: "Permission denied",
    EBUSY: "Device or resource busy",
    EEXIST: "File exists",
    EXDEV: "Invalid cross-device link",
    ENODEV: "No such device",
    ENOTDIR: "Not a directory",
    EISDIR: "Is a directory",
    EINVAL: "Invalid argument",
    EMFILE: "Too many open files",
    ENOSPC: "No space left on device",
    EROFS: "Read-only file system",
    ERANGE: "Numerical result out of range",
    ENAMETOOLONG: "File name too long",
    ENOSYS: "Function not implemented",
    ENOTEMPTY: "Directory not empty",
    ELOOP: "Too many levels of symbolic links",
    EOPNOTSUPP: "Operation not supported",
    ETIMEDOUT: "Connection timed out",
}

_NAMES = {value: name for name, value in list(globals().items()) if name.startswith("E") and isinstance(value, int)}


def strerror(number: int) -> str:
    """The text of an error number as Linux's libc has it."""
    return _TEXTS.get(number, f"Unknown error {number}")


def name_of(number: int) -> str:
    """The header's name of an error number, or the number."""
    return _NAMES.get(number, str(number))


class CallFailed(Exception):
    """A modelled system call failed."""

    def __init__(self, syscall: str, errno: int, path: str = "") -> None:
        super().__init__(f"{syscall} {path}: {strerror(errno)}")
        self.syscall = syscall
        self.errno = errno
        self.path = path

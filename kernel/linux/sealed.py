"""A sealed copy of the interpreter: what a container reaches through /proc/self/exe cannot be written to (S1, CVE-2019-5736)."""

from __future__ import annotations

import fcntl
import os
import sys

_F_ADD_SEALS = 1033
_SEALS = 0xF
"""F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE (fcntl(2))."""


def sealed_program(name: str, content: bytes) -> int:
    """A descriptor of a memfd that holds an executable file and can never be changed."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    return fd


def sealed_interpreter() -> int:
    """A descriptor of a memfd that holds the running interpreter's executable and can never be changed."""
    fd = os.memfd_create("docket-launcher", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    source = os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(source).st_size
        sent = 0
        while sent < size:
            sent += os.sendfile(fd, source, sent, size - sent)
    finally:
        os.close(source)
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    return fd


def interpreter_path() -> str:
    """What the copy is told that it is called, so that it finds its standard library."""
    return os.path.abspath(os.readlink("/proc/self/exe") if not sys.executable else _base_executable())


def _base_executable() -> str:
    return getattr(sys, "_base_executable", sys.executable)

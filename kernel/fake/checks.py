"""Conditions that a modelled call insists on."""

from __future__ import annotations

from docket.kernel.fake.filesystem import Directory
from docket.kernel.fake.linux_errno import ENOTDIR, CallFailed
from docket.kernel.fake.mounts import Location


def require(condition: bool, syscall: str, errno: int, path: str = "") -> None:
    """Raise `CallFailed` unless the condition holds."""
    if not condition:
        raise CallFailed(syscall, errno, path)


def require_directory(location: Location, path: str, syscall: str = "openat2") -> None:
    """Raise `CallFailed` ENOTDIR unless a directory is there."""
    require(isinstance(location[-1].inode, Directory), syscall, ENOTDIR, path)

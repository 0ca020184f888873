"""The container's own user files: what is no file is none, and what the system refuses is no empty file."""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket.adapters.files.writing import _user_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs openat2")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    descriptor = os.open(tmp_path, os.O_PATH)
    yield descriptor
    os.close(descriptor)


def test_s12_what_is_no_file_of_users_is_none(root: int, tmp_path: Path) -> None:
    """Missing, a directory, a pipe that nobody writes to, links in a circle, a link out of the container."""
    passwd = tmp_path / "etc/passwd"
    assert _user_file(root, b"etc/passwd") == b""
    assert _user_file(root, b"etc/passwd/deeper") == b""
    passwd.write_text("root:x:0:0::/:\n")
    assert _user_file(root, b"etc/passwd") == b"root:x:0:0::/:\n"
    assert _user_file(root, b"etc/passwd/deeper") == b""
    passwd.unlink()
    passwd.mkdir()
    assert _user_file(root, b"etc/passwd") == b""
    passwd.rmdir()
    os.mkfifo(passwd)
    assert _user_file(root, b"etc/passwd") == b""
    for target in ("passwd", "../../../../../etc/passwd-of-the-host"):
        passwd.unlink()
        passwd.symlink_to(target)
        assert _user_file(root, b"etc/passwd") == b""


def test_a_system_that_refuses_is_no_empty_file(root: int, tmp_path: Path) -> None:
    """Else a name would be unknown, or a group missing, because the daemon had too many files open."""
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(root)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(OSError) as refused:
            _user_file(root, b"etc/passwd")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused.value.errno == errno.EMFILE

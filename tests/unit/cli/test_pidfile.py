"""The pid file: a living daemon's is respected, a dead one's is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from docket.cli.pidfile import remove_pidfile, write_pidfile
from docket.domain.errors import Unavailable

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs /proc")


def test_a_living_process_is_respected(tmp_path: Path) -> None:
    """The sentence names the process and the file."""
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(
        Unavailable, match=rf"process with PID {os.getppid()} is still running: pid file found, .* delete {path}"
    ):
        write_pidfile(str(path))
    remove_pidfile(str(path))
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.mark.parametrize("content", ["", "x", "-1", "99999999999999999999"])
def test_what_is_no_pid_is_replaced(tmp_path: Path, content: str) -> None:
    """Also what a crash left half-written, and a process that has ended."""
    path = tmp_path / "pid"
    path.write_text(content)
    write_pidfile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    remove_pidfile(str(path))
    assert not path.exists()
    ended = subprocess.Popen(["true"])
    ended.wait()
    path.write_text(str(ended.pid))
    write_pidfile(str(path))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """The file is replaced as a whole: what a link points at stays as it is."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "pid").symlink_to(tmp_path / "victim")
    write_pidfile(str(tmp_path / "pid"))
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    """With the path and the reason."""
    with pytest.raises(Unavailable, match=r"pid file .*/no/pid cannot be written: no such file or directory"):
        write_pidfile(str(tmp_path / "no" / "pid"))

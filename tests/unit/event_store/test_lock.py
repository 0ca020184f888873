"""The lock that keeps a second engine off a log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docket.domain.errors import StoreRefused
from docket.event_store.lock import FileLock


def test_a_second_lock_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    """The message says who holds the log and what to do."""
    lock = FileLock(tmp_path / "log.db")
    with pytest.raises(StoreRefused, match=rf"log\.db is in use by process {os.getpid()}: stop that docket daemon"):
        FileLock(tmp_path / "log.db")
    lock.release()
    lock.release()
    FileLock(tmp_path / "log.db").release()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    """An engine that was killed leaves a file, not a lock."""
    program = "import sys, os, pathlib\nfrom docket.event_store.lock import FileLock\n"
    program += "lock = FileLock(pathlib.Path(sys.argv[1])); print(os.getpid(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pid = holder.stdout.readline().strip()
        with pytest.raises(StoreRefused, match=f"process {pid}"):
            FileLock(tmp_path / "log.db")
        holder.kill()
    FileLock(tmp_path / "log.db").release()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX modes and symlinks")
def test_the_lock_file_is_private_and_no_link(tmp_path: Path) -> None:
    """Others can neither hold the lock nor make the engine write a pid somewhere else."""
    umask = os.umask(0)
    try:
        FileLock(tmp_path / "log.db").release()
    finally:
        os.umask(umask)
    assert (tmp_path / "log.db.lock").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other.db.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreRefused, match="cannot be opened"):
        FileLock(tmp_path / "other.db")
    assert not (tmp_path / "victim").exists()

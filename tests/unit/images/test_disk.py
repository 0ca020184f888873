"""Files and directories of the data root have their modes, and appear whole."""

import os
import stat
from pathlib import Path

import pytest

from docket.adapters.images import disk


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_s39_no_umask_changes_a_mode(umask: int, tmp_path: Path) -> None:
    """A directory is 0710 and a file 0600 on every machine."""
    old = os.umask(umask)
    try:
        directory = disk.make_directory(str(tmp_path / "d"))
        os.close(disk.new_file(directory, "f"))
        disk.replace_file(directory, "g", b"x")
    finally:
        os.umask(old)
    os.close(directory)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o710
    assert [stat.S_IMODE((tmp_path / "d" / name).stat().st_mode) for name in "fg"] == [0o600, 0o600]


def test_a_link_is_no_directory(tmp_path: Path) -> None:
    """Nobody can put a link where the data root has a directory and have its target's mode changed."""
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError):
        disk.make_directory(str(tmp_path / "link"))
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o755


def test_a_failed_replacement_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the new content, never the old."""
    directory = disk.make_directory(str(tmp_path))
    disk.replace_file(directory, "f", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError):
            disk.replace_file(directory, "f", b"new")
    os.close(directory)
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"

"""docket/base is assembled from this machine, the same way every time."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from docket.adapters.images import base_image
from docket.adapters.images.base_image import BUSYBOX_PATHS, Contents, base_archive, base_contents, base_parameters
from docket.domain.errors import Unavailable

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="assembled from a Linux machine's programs")


def members(contents: Contents) -> dict[str, tarfile.TarInfo]:
    """The members of the archive by name, read by another reader."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(base_archive(contents)))) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_the_same_contents_give_the_same_bytes() -> None:
    """Times, owners and order depend on nothing, so the digest does not either."""
    contents = Contents("test", {"bin/b": (b"2", 0o755), "bin/a": (b"1", 0o755)}, {"bin/z": "a", "bin/y": "a"})
    shuffled = Contents("test", dict(reversed(contents.files.items())), dict(reversed(contents.links.items())))
    assert b"".join(base_archive(contents)) == b"".join(base_archive(shuffled))
    for member in members(contents).values():
        assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


def test_directories_and_files_that_programs_expect_are_there() -> None:
    """Modes too: everybody may write to /tmp, only root reads shadow; and no library lacks its directory."""
    found = members(Contents("test", {"lib64/deep/ld.so": (b"x", 0o755)}, {}))
    assert found["tmp"].mode == 0o1777
    assert found["root"].mode == 0o700
    assert found["etc/shadow"].mode == 0o600
    assert found["etc/passwd"].isfile()
    assert found["etc/os-release"].isfile()
    assert found["lib64/deep"].isdir()
    assert list(found).index("lib64") < list(found).index("lib64/deep") < list(found).index("lib64/deep/ld.so")


@pytest.mark.skipif(not any(Path(path).exists() for path in BUSYBOX_PATHS), reason="this machine has no busybox")
def test_a_static_busybox_is_all_that_is_needed() -> None:
    """One file, and a link for each applet."""
    contents = base_contents()
    assert list(contents.files) == ["bin/busybox"]
    assert {contents.links[f"bin/{name}"] for name in ("sh", "ls", "cat", "sleep", "true", "id", "env")} == {"busybox"}
    assert base_parameters(contents).cmd == ("sh",)


def test_without_busybox_the_hosts_programs_and_their_libraries_are_taken() -> None:
    """A dozen programs with everything that they load."""
    contents = base_contents(())
    assert {f"bin/{name}" for name in base_image.REQUIRED} <= set(contents.files)
    assert any("ld-" in path or "ld.so" in path for path in contents.files)
    assert base_contents(()) == contents


def test_a_busybox_that_needs_libraries_or_is_none_is_passed_over(tmp_path: Path) -> None:
    """It is looked at, never run."""
    (tmp_path / "script").write_text("#!/bin/sh\ntouch ran\n")
    (tmp_path / "script").chmod(0o755)
    assert "bin/busybox" not in base_contents([str(tmp_path / "script"), "/bin/ls", "/nonexistent"]).files
    assert not (tmp_path / "ran").exists()


def test_a_machine_without_programs_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what is missing and what to install."""
    monkeypatch.setattr(base_image, "_HOST_DIRECTORIES", ("/nonexistent",))
    with pytest.raises(Unavailable, match="busybox-static"):
        base_contents(())

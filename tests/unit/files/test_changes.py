"""What a writable layer changes, over one layer and over several."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from docket.adapters.files.changes import ADDED, DELETED, MODIFIED, changes_of
from docket.adapters.images.unpack import OPAQUE_XATTR
from docket.domain.container_files import FileChange

pytestmark = pytest.mark.root


class Stack:
    """Layers, named from the bottom: ``low``, ``mid``; and the writable one, ``up``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("low", "mid", "up"):
            (root / name).mkdir()

    def file(self, path: str, content: str = "x", time: int = 10**18) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        os.utime(target, ns=(time, time))

    def whiteout(self, path: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(self.root / path, stat.S_IFCHR, os.makedev(0, 0))

    def opaque(self, path: str) -> None:
        (self.root / path).mkdir(parents=True, exist_ok=True)
        os.setxattr(self.root / path, OPAQUE_XATTR, b"y")

    def changes(self, *placeholders: str) -> dict[str, int]:
        lowerdirs = [str(self.root / name) for name in ("mid", "low")]
        found = changes_of(str(self.root / "up"), lowerdirs, frozenset(placeholders))
        assert list(found) == sorted(found, key=lambda each: each.path)
        return {each.path: each.kind for each in found}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


def test_a_container_that_never_started_has_no_changes(stack: Stack) -> None:
    """There is no writable layer yet."""
    assert changes_of(str(stack.root / "none"), [str(stack.root / "low")], frozenset()) == ()


def test_directories_above_a_change_are_modified(stack: Stack) -> None:
    """All of them, for every kind of change; those that only were copied up are not."""
    for path in ("low/a/b/f", "low/c/f", "low/d/f", "low/e/f"):
        stack.file(path)
    stack.file("up/a/b/f", "changed")
    stack.whiteout("up/c/f")
    stack.file("up/d/new")
    (stack.root / "up/e").mkdir()
    assert stack.changes() == {
        "/a": MODIFIED,
        "/a/b": MODIFIED,
        "/a/b/f": MODIFIED,
        "/c": MODIFIED,
        "/c/f": DELETED,
        "/d": MODIFIED,
        "/d/new": ADDED,
    }


def test_a_file_that_was_copied_up_and_is_the_same_is_no_change(stack: Stack) -> None:
    """Whole seconds are those of a layer that was cut; another mode, owner, size or time is a change."""
    for name in ("same", "cut", "mode", "owner", "time"):
        stack.file(f"low/{name}", time=10**18 + 5)
        stack.file(f"up/{name}", time=10**18 + (0 if name == "cut" else 5))
    (stack.root / "up/mode").chmod(0o600)
    os.chown(stack.root / "up/owner", 5, 5)
    os.utime(stack.root / "up/time", ns=(1, 10**18 + 7))
    assert stack.changes() == {"/mode": MODIFIED, "/owner": MODIFIED, "/time": MODIFIED}


def test_a_directory_that_was_made_again_has_lost_what_is_not_in_it(stack: Stack) -> None:
    """An opaque mark hides all layers below, and what a layer between has removed cannot be lost again."""
    for path in ("low/d/one", "low/d/two", "low/d/gone", "mid/d/three"):
        stack.file(path)
    stack.whiteout("mid/d/gone")
    stack.opaque("up/d")
    stack.file("up/d/two")
    stack.file("up/d/new")
    found = stack.changes()
    assert found == {"/d": MODIFIED, "/d/one": DELETED, "/d/three": DELETED, "/d/new": ADDED}


def test_layers_between_hide_what_is_below_them(stack: Stack) -> None:
    """Removed there, it is added here; an opaque directory there begins anew."""
    for path in ("low/removed", "low/o/f", "low/file-to-dir", "mid/o/g"):
        stack.file(path)
    stack.whiteout("mid/removed")
    stack.opaque("mid/o")
    stack.file("up/removed")
    stack.file("up/o/f")
    stack.file("up/file-to-dir/f")
    stack.whiteout("up/never-there")
    assert stack.changes() == {
        "/removed": ADDED,
        "/o": MODIFIED,
        "/o/f": ADDED,
        "/file-to-dir": MODIFIED,
        "/file-to-dir/f": ADDED,
    }


def test_what_the_engine_mounts_on_is_nobodys_change(stack: Stack) -> None:
    """As long as it is empty, and not the image's."""
    (stack.root / "low/etc").mkdir()
    (stack.root / "up/proc").mkdir()
    stack.file("up/etc/hosts", "")
    stack.file("up/etc/hostname", "mine")
    assert stack.changes("proc", "etc/hosts", "etc/hostname") == {"/etc": MODIFIED, "/etc/hostname": ADDED}
    stack.file("up/proc/inside")
    assert stack.changes("proc", "etc/hosts", "etc/hostname")["/proc"] == ADDED


def test_s17_a_link_is_compared_and_never_followed(stack: Stack) -> None:
    """A directory's name that is a link to the host now is a modified path, and nothing beyond it is looked at."""
    stack.file("low/d/f")
    (stack.root / "up/d").symlink_to("/etc")
    assert stack.changes() == {"/d": MODIFIED}
    assert FileChange("/d", MODIFIED) in changes_of(str(stack.root / "up"), [str(stack.root / "low")], frozenset())

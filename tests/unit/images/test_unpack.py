"""Layers are unpacked faithfully, as overlayfs wants them, and never outside their directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.tar_reader import TarLimits
from docket.adapters.images.unpack import OPAQUE_XATTR

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("descriptors")]

NewArchive = Callable[[], Any]


def is_whiteout(path: Any) -> bool:
    """Whether overlayfs takes the file for a removed one."""
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Any) -> bool:
    """Whether overlayfs hides what lies below the directory."""
    return OPAQUE_XATTR in os.listxattr(path) and os.getxattr(path, OPAQUE_XATTR) == b"y"


# What an archive keeps.


def test_everything_that_an_archive_says_is_kept(archive: Any, unpacker: Any) -> None:
    """Owners, all mode bits, times, links, attributes and devices arrive as they were."""
    archive.add("d", "dir", mode=0o2711, uid=5, gid=6, mtime=1000)
    archive.add(
        "d/f", data=b"data", mode=0o6755, uid=7, gid=8, mtime=2000, xattrs={"user.a": b"1", "security.capability": CAPABILITY}
    )
    archive.add("d/s", "symlink", link="../../outside/canary", uid=9, gid=10, mtime=3000)
    archive.add("d/h", "link", link="d/f").add("p", "fifo", mode=0o600, uid=1, mtime=4000)
    archive.add("c", "char", devmajor=1, devminor=3, mode=0o666).add("b", "block", devmajor=7, devminor=300)
    archive.add("big", data=b"0123456789" * 300_000)
    result = unpacker.unpack(archive)
    root = unpacker.root
    status = os.stat(root / "d/f")
    assert (status.st_mode, status.st_uid, status.st_gid, status.st_mtime, status.st_nlink) == (0o106755, 7, 8, 2000, 2)
    assert os.getxattr(root / "d/f", "user.a") == b"1"
    assert os.getxattr(root / "d/f", "security.capability") == CAPABILITY
    status = os.stat(root / "d")
    assert (status.st_mode, status.st_uid, status.st_gid, status.st_mtime) == (0o42711, 5, 6, 1000)
    status = os.lstat(root / "d/s")
    assert (os.readlink(root / "d/s"), status.st_uid, status.st_gid, status.st_mtime) == ("../../outside/canary", 9, 10, 3000)
    assert os.path.samefile(root / "d/h", root / "d/f")
    status = os.lstat(root / "p")
    assert (status.st_mode, status.st_uid, status.st_mtime) == (stat.S_IFIFO | 0o600, 1, 4000)
    assert (os.lstat(root / "c").st_rdev, os.lstat(root / "c").st_mode) == (os.makedev(1, 3), stat.S_IFCHR | 0o666)
    assert os.lstat(root / "b").st_rdev == os.makedev(7, 300)
    assert (root / "big").read_bytes() == b"0123456789" * 300_000
    assert (result.members, result.size) == (8, 3_000_004)
    unpacker.assert_nothing_outside()


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def test_s39_no_umask_changes_a_mode(archive: Any, unpacker: Any) -> None:
    """Files get the mode of the archive, and directories that it does not mention 0755."""
    archive.add("x/y/f", mode=0o777).add("e", "dir", mode=0o777)
    old = os.umask(0o077)
    try:
        unpacker.unpack(archive)
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(os.stat(unpacker.root / name).st_mode) for name in ("x", "x/y", "x/y/f", "e")]
    assert modes == [0o755, 0o755, 0o777, 0o777]


def test_a_later_member_replaces_an_earlier_one(archive: Any, unpacker: Any) -> None:
    """Files, links and whole directories make way; two mentions of a directory are one directory."""
    archive.add("f", data=b"1").add("h", "link", link="f").add("f", data=b"2")
    archive.add("d", "dir", mode=0o700).add("d/x").add("d", "dir", mode=0o711)
    archive.add("t", "dir").add("t/a/b").add("t", data=b"file now")
    archive.add("s", "symlink", link="d").add("s", "dir").add("s/in")
    archive.add("r", "symlink", link="d").add("r/via").add("r", "symlink", link="s").add("r/via2")
    unpacker.unpack(archive)
    root = unpacker.root
    assert (root / "f").read_bytes() == b"2"
    assert (root / "h").read_bytes() == b"1"
    assert sorted(os.listdir(root / "d")) == ["via", "x"]
    assert stat.S_IMODE(os.stat(root / "d").st_mode) == 0o711
    assert (root / "t").read_bytes() == b"file now"
    assert not (root / "s").is_symlink()
    assert sorted(os.listdir(root / "s")) == ["in", "via2"]


def test_links_of_the_archive_are_followed_inside_it_only(archive: Any, unpacker: Any) -> None:
    """A merged /usr works as in the container, where an absolute link means the container's root."""
    archive.add("usr/lib", "dir").add("lib", "symlink", link="/usr/lib").add("lib/x", data=b"1")
    archive.add("up", "symlink", link="../../../../usr").add("up/lib/y", data=b"2").add("z", "link", link="lib/x")
    unpacker.unpack(archive)
    assert sorted(os.listdir(unpacker.root / "usr/lib")) == ["x", "y"]
    assert (unpacker.root / "z").read_bytes() == b"1"
    unpacker.assert_nothing_outside()


def test_many_directories_need_few_descriptors(archive: Any, unpacker: Any) -> None:
    """More directories than are kept open, visited in turn, deep and wide."""
    for turn in range(2):
        for number in range(300):
            archive.add(f"d{number}/e/f{turn}")
    archive.add("/".join(["deep"] * 200) + "/f")
    assert unpacker.unpack(archive).members == 601
    assert sorted(os.listdir(unpacker.root / "d7/e")) == ["f0", "f1"]


# Whiteouts (S22).


def test_s22_whiteouts_become_what_overlayfs_wants(archive: Any, unpacker: Any) -> None:
    """A removed name is a 0:0 device, an opaque directory has the mark, aufs' own notes vanish."""
    archive.add("d", "dir").add("d/.wh.gone").add("d/.wh.gone2", "link", link=".wh..wh.aufs").add("o", "dir").add(
        "o/.wh..wh..opq"
    )
    archive.add(".wh..wh.aufs").add(".wh..wh.plnk", "dir").add(".wh..wh.plnk/1.2", data=b"x").add("new/.wh.x")
    unpacker.unpack(archive)
    root = unpacker.root
    assert is_whiteout(root / "d/gone")
    assert is_whiteout(root / "d/gone2")
    assert is_whiteout(root / "new/x")
    assert is_opaque(root / "o")
    assert os.listdir(root / "o") == []
    assert sorted(os.listdir(root)) == ["d", "new", "o"]


def test_s22_a_whiteout_speaks_of_lower_layers_only(new_archive: NewArchive, unpacker: Any) -> None:
    """In whichever order they stand, the layer's own member stays and what lies below is hidden."""
    archive = new_archive().add("f", data=b"1").add(".wh.f").add(".wh.g").add("g", data=b"2")
    archive.add("d/x").add(".wh.d").add(".wh.e").add("e", "dir").add("e/y")
    unpacker.unpack(archive)
    root = unpacker.root
    assert (root / "f").read_bytes() + (root / "g").read_bytes() == b"12"
    assert is_opaque(root / "d")
    assert is_opaque(root / "e")
    assert os.listdir(root / "d") == ["x"]
    assert os.listdir(root / "e") == ["y"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".wh.", "file"),
        (".wh..", "file"),
        (".wh...", "file"),
        ("d/.wh...", "file"),
        (".wh.x", "dir"),
        (".wh.x", "symlink"),
        (".wh.x", "char"),
        (".wh..wh..opq", "symlink"),
        (".wh..wh..opq", "dir"),
        (".wh.x/y", "file"),
        (".wh..wh..opq/y", "file"),
        (".wh.../../x", "file"),
    ],
)
def test_s22_malformed_whiteouts_are_refused(name: str, kind: str, archive: Any, unpacker: Any) -> None:
    """A whiteout of `.` or `..`, one that is a directory or a link, one with members of its own."""
    unpacker.refused(archive.add(name, kind, link="x"))
    unpacker.assert_nothing_outside()


def test_s22_overlay_attributes_and_hidden_whiteouts_stay_out(new_archive: NewArchive, unpacker: Any) -> None:
    """An archive cannot steer the kernel's overlay: no redirect, no metacopy, no device 0:0; nor the host's MAC policy."""
    xattrs = {
        "trusted.overlay.opaque": b"y",
        "trusted.overlay.redirect": b"/etc",
        "user.overlay.metacopy": b"",
        "security.selinux": b"x",
        "security.ima": b"x",
        "trusted.other": b"kept",
    }
    unpacker.unpack(
        new_archive().add("d", "dir", xattrs=xattrs).add("f", xattrs=xattrs).add("s", "symlink", link="x", xattrs=xattrs)
    )
    for name in ("d", "f"):
        assert os.listxattr(unpacker.root / name) == ["trusted.other"]
    assert "0:0" in unpacker.refused(new_archive().add("c", "char"))
    assert "removed file" in unpacker.refused(new_archive().add(".wh.f2").add("l", "link", link="f2"))


# Hostile archives (S19, S20).

UP = "../" * 30
HOSTILE: dict[str, Callable[[Any], Any]] = {
    "dotdot": lambda a: a.add("../outside/new"),
    "dotdot-deep": lambda a: a.add(f"{UP}tmp/docket-escape"),
    "dotdot-inside": lambda a: a.add("a/../../outside/canary", data=b"x"),
    "dotdot-end": lambda a: a.add("a/..", "dir", mode=0),
    "dotdot-only": lambda a: a.add("..", "dir", mode=0),
    "dot-dotdot": lambda a: a.add("./../outside/new"),
    "slash-dotdot": lambda a: a.add("/../outside/new"),
    "dotdot-dir": lambda a: a.add("../outside/directory", "dir", mode=0o777),
    "dotdot-symlink": lambda a: a.add("../outside/s", "symlink", link="x"),
    "dotdot-hardlink": lambda a: a.add("../outside/h", "link", link="x"),
    "dotdot-fifo": lambda a: a.add("../outside/p", "fifo"),
    "dotdot-device": lambda a: a.add("../outside/c", "char", devmajor=1, devminor=3),
    "dotdot-whiteout": lambda a: a.add("../outside/.wh.canary"),
    "dotdot-opaque": lambda a: a.add("../outside/.wh..wh..opq"),
    "dotdot-pax": lambda a: a.add("x", pax={"path": "../outside/new"}),
    "dotdot-gnu": lambda a: a.add("x" * 120 + "/../../outside/new"),
    "nul-pax": lambda a: a.add("x", pax={"path": "a\0/../../outside/new"}),
    "hardlink-dotdot": lambda a: a.add("h", "link", link="../outside/canary"),
    "hardlink-absolute": lambda a: a.add("h", "link", link="/etc/passwd"),
    "hardlink-pax": lambda a: a.add("h", "link", pax={"linkpath": "../outside/canary"}),
    "hardlink-via-link": lambda a: a.add("s", "symlink", link="../outside").add("h", "link", link="s/canary"),
    "hardlink-missing": lambda a: a.add("h", "link", link="nothing"),
    "hardlink-self": lambda a: a.add("h", "link", link="h"),
    "hardlink-root": lambda a: a.add("h", "link", link="."),
    "hardlink-empty": lambda a: a.add("h", "link", link=""),
    "hardlink-dir": lambda a: a.add("d", "dir").add("h", "link", link="d"),
    "through-file": lambda a: a.add("f").add("f/x"),
    "through-device": lambda a: a.add("c", "char", devmajor=1, devminor=3).add("c/x"),
    "through-fifo": lambda a: a.add("p", "fifo").add("p/x"),
    "through-whiteout": lambda a: a.add(".wh.w").add("w/x"),
    "through-dangling": lambda a: a.add("s", "symlink", link="../outside/none").add("s/x"),
    "through-absolute-dangling": lambda a: a.add("s", "symlink", link="/none").add("s/x"),
    "through-loop": lambda a: a.add("a", "symlink", link="b").add("b", "symlink", link="a").add("a/x"),
    "through-self": lambda a: a.add("a", "symlink", link="a").add("a/x"),
    "through-proc": lambda a: a.add("s", "symlink", link="/proc/self/root").add("s/x"),
    "through-proc-cwd": lambda a: a.add("s", "symlink", link="/proc/self/cwd").add("s/x"),
    "through-proc-fd": lambda a: a.add("s", "symlink", link="/proc/self/fd/3").add("s/x"),
    "through-outside": lambda a: a.add("s", "symlink", link="../outside").add("s/canary", data=b"x"),
    "through-outside-dir": lambda a: a.add("s", "symlink", link="../outside").add("s/directory", "dir", mode=0o777),
    "through-absolute-host": lambda a: a.add("s", "symlink", link="/etc").add("s/passwd", data=b"x"),
    "through-chain": lambda a: (
        a.add("a", "symlink", link="..").add("b", "symlink", link="a/../outside").add("b/canary", data=b"x")
    ),
    "whiteout-through-link": lambda a: a.add("s", "symlink", link="../outside").add("s/.wh.canary"),
    "opaque-through-link": lambda a: a.add("s", "symlink", link="../outside").add("s/.wh..wh..opq"),
    "symlink-empty": lambda a: a.add("s", "symlink", link=""),
    "symlink-long": lambda a: a.add("s", "symlink", link="x" * 5000),
    "root-file": lambda a: a.add(".", data=b"x"),
    "root-symlink": lambda a: a.add("./", "symlink", link="../outside"),
    "root-hardlink": lambda a: a.add("/", "link", link="x"),
    "root-whiteout": lambda a: a.add(".wh.."),
    "root-device": lambda a: a.add("", "char", devmajor=1, devminor=3),
    "long-name": lambda a: a.add("x" * 256),
    "long-path": lambda a: a.add("x/" * 3000 + "y"),
    "deep-path": lambda a: a.add("x/" * 256 + "y"),
    "uid-all-ones": lambda a: a.add("f", uid=2**32 - 1),
    "uid-wraps": lambda a: a.add("f", uid=2**32),
    "gid-huge": lambda a: a.add("f", pax={"gid": str(2**62)}),
    "uid-negative": lambda a: a.add("f", uid=-1),
    "size-negative": lambda a: a.add("f", size=-512),
    "device-range": lambda a: a.add("c", "char", devmajor=5000, devminor=1),
    "device-minor-range": lambda a: a.add("c", "block", devmajor=5, devminor=2**20),
    "xattr-nul": lambda a: a.add("f", pax={"SCHILY.xattr.user.a\0b": "x"}),
    "xattr-huge": lambda a: a.add("f", pax={"SCHILY.xattr.user.a": "x" * 100_000}),
    "xattr-name": lambda a: a.add("f", pax={"SCHILY.xattr.user." + "a" * 300: "x"}),
    "sparse": lambda a: a.add("f", b"S"),
    "unknown": lambda a: a.add("f", b"Z"),
    "swap": lambda a: a.add("d", "dir").add("d/x").add("d", "symlink", link="../outside").add("d/canary", data=b"x"),
    "swap-parent": lambda a: a.add("d/e/x").add("d", "symlink", link="../outside").add("d/directory/x", data=b"x"),
    "swap-back": lambda a: a.add("s", "symlink", link="../outside").add("s", "dir").add("s/canary", data=b"x"),
    "overwrite-link": lambda a: a.add("s", "symlink", link="../outside/canary").add("s", data=b"x", mode=0o777, uid=3),
    "chmod-link": lambda a: a.add(
        "s", "symlink", link="../outside/canary", mode=0o777, uid=3, mtime=9, xattrs={"user.x": b"1"}
    ),
    "dir-over-link": lambda a: a.add("s", "symlink", link="../outside/directory").add("s", "dir", mode=0o777, uid=3, mtime=9),
    "hardlinked-link": lambda a: (
        a.add("s", "symlink", link="../outside/canary").add("h", "link", link="s").add("h", data=b"x", uid=3)
    ),
    "fifo-over-link": lambda a: a.add("s", "symlink", link="../outside/canary").add("s", "fifo", mode=0o777, uid=3),
    "absolute": lambda a: a.add("/tmp/docket-escape").add("/outside/canary", data=b"x"),
}
CONTAINED = {
    *("through-outside-dir", "through-absolute-host", "through-chain", "swap", "swap-back", "overwrite-link", "chmod-link"),
    *("dir-over-link", "hardlinked-link", "fifo-over-link", "absolute", "whiteout-through-link", "opaque-through-link"),
    *("through-outside", "swap-parent"),
}
"""Archives that may also be unpacked: what they ask for then lies inside the layer."""


@pytest.mark.parametrize("name", HOSTILE)
def test_s19_hostile_archives_change_nothing_outside(name: str, archive: Any, unpacker: Any) -> None:
    """Each is refused, or unpacked with its links read as the container would; the neighbours never notice (S20 as well)."""
    HOSTILE[name](archive)
    if name in CONTAINED:
        try:
            unpacker.unpack(archive)
        except InvalidArchive:
            pass
    else:
        unpacker.refused(archive)
    unpacker.assert_nothing_outside()
    assert not os.path.lexists("/tmp/docket-escape")


def test_s20_attributes_land_on_the_link_not_on_its_target(archive: Any, unpacker: Any) -> None:
    """Mode, owner, times and attributes of what a link points at are none of the archive's business."""
    inside = unpacker.root / "target"
    inside.write_bytes(b"x")
    os.utime(inside, ns=(5, 5))
    archive.add("s", "symlink", link="target", mode=0o777, uid=3, gid=4, mtime=9)
    unpacker.unpack(archive)
    status = os.stat(inside)
    assert (status.st_uid, status.st_gid, status.st_mtime_ns, stat.S_IMODE(status.st_mode)) == (0, 0, 5, 0o644)


NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/a", "a/canary", "b/canary", "outside", ".", "./a", "/b", "a/.wh.b", ".wh.a", "a/.wh..wh..opq"]
)
TARGETS = st.sampled_from(
    [
        "a",
        "b",
        "/",
        ".",
        "..",
        "../outside",
        "../../outside",
        "/outside",
        "a/b",
        "../outside/canary",
        "b/../..",
        "/proc/self/root",
    ]
)
KINDS = st.sampled_from(["file", "dir", "symlink", "link", "fifo", "char"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(st.tuples(NAMES, KINDS, TARGETS), min_size=1, max_size=12))
@example(members=[("a", "dir", "a"), ("a", "symlink", "a")])
def test_s19_no_sequence_of_members_reaches_outside(
    members: list[tuple[str, str, str]], new_archive: NewArchive, tmp_path_factory: pytest.TempPathFactory, unpacker: Any
) -> None:
    """Links, directories and replacements in any order: the layer may be odd, the neighbours are untouched."""
    fresh = type(unpacker)(tmp_path_factory.mktemp("generated"))
    archive = new_archive()
    for name, kind, target in members:
        archive.add(
            name, kind, data=b"x" if kind == "file" else b"", link=target, devmajor=1, devminor=3, uid=3, mode=0o777, mtime=9
        )
    try:
        fresh.unpack(archive)
    except InvalidArchive:
        pass
    fresh.assert_nothing_outside()


# Limits (S23).


def test_s23_the_cap_holds_while_unpacking(archive: Any, unpacker: Any) -> None:
    """What is beyond the cap is refused when it comes, not when the disk is full."""
    archive.add("a", data=b"x" * 5000).add("b", data=b"x" * 500_000)
    assert "larger than" in unpacker.refused(archive, TarLimits(total_bytes=20_000))
    assert (unpacker.root / "a").stat().st_size == 5000
    assert (unpacker.root / "b").stat().st_size < 20_000


def test_s23_directories_are_bounded(archive: Any, unpacker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their times are kept in memory until the end, so their number has a limit of its own."""
    monkeypatch.setattr("docket.adapters.images.unpack.MAX_DIRECTORIES", 10)
    for number in range(11):
        archive.add(f"d{number}", "dir")
    assert "directories" in unpacker.refused(archive)

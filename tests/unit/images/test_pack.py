"""Packing is the inverse of unpacking, the same for equal trees, and never led away by a link."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.images.conftest import reader_of

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.pack import FILES, OVERLAY, Packing, pack_one, pack_tree
from docket.adapters.images.tar_writer import member_header
from docket.adapters.images.unpack import OPAQUE_XATTR, unpack_layer
from docket.domain.pieces import gathered

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("descriptors")]


def packed(root: Path, packing: Packing = OVERLAY, top: bytes = b"") -> bytes:
    """The archive of a directory."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return b"".join(pack_tree(descriptor, packing, top))
    finally:
        os.close(descriptor)


def unpacked(data: bytes, root: Path) -> Path:
    """A directory made from an archive."""
    root.mkdir()
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack_layer(reader_of(data), descriptor)
    finally:
        os.close(descriptor)
    return root


def members(data: bytes) -> list[tarfile.TarInfo]:
    """The members as Python's own reader sees them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


def described(root: Path) -> list[tuple[Any, ...]]:
    """Everything below a directory: names, kinds, owners, times, contents, attributes, and which names are one file."""
    found: list[tuple[Any, ...]] = []
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*"), key=os.fsencode):
        name, status = str(path.relative_to(root)), path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        target = os.readlink(path) if path.is_symlink() else ""
        xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
        same = first.setdefault(status.st_ino, name) if not stat.S_ISDIR(status.st_mode) else name
        owner = (status.st_uid, status.st_gid)
        found.append((name, status.st_mode, owner, status.st_mtime_ns, status.st_rdev, content, target, xattrs, same))
    return found


NAMES = st.sampled_from(["a", "b", "c", "é", "x" * 120, "with space", "lower"])
TIMES = st.sampled_from([0, 1_700_000_000_000_000_000, 1_700_000_000_123_456_789, -1_500_000_000, 2**34 * 10**9])
LEAVES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["file", "symlink", "fifo", "char", "block", "whiteout"]),
        "mode": st.sampled_from([0o644, 0o4755, 0o1777, 0o000]),
        "owner": st.sampled_from([0, 7, 0o7777777, 2**32 - 2]),
        "time": TIMES,
        "data": st.binary(max_size=1300),
        "xattrs": st.dictionaries(st.sampled_from(["user.k", "trusted.t"]), st.binary(max_size=300), max_size=2),
        "again": st.booleans(),
    }
)
TREES = st.recursive(
    LEAVES, lambda below: st.dictionaries(NAMES, below, max_size=4).map(lambda found: {"below": found}), max_leaves=12
).map(lambda found: found if "below" in found else {"below": {"a": found}})


def grow(root: Path, tree: dict[str, Any], opaque: bool = False) -> None:
    """Makes the tree in an empty directory."""
    for name, node in tree["below"].items():
        path = root / name
        if "below" in node:
            path.mkdir()
            grow(path, node)
            if len(node["below"]) % 2:
                os.setxattr(path, OPAQUE_XATTR, b"y")
            os.utime(path, ns=(5, 1_600_000_000_000_000_001))
        else:
            _leaf(path, node)


def _leaf(path: Path, node: dict[str, Any]) -> None:
    kind = node["kind"]
    if kind == "whiteout":
        os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        return
    makers: dict[str, Callable[[], Any]] = {
        "file": lambda: path.write_bytes(node["data"]),
        "symlink": lambda: path.symlink_to("../" + "t" * (len(node["data"]) % 200 + 1)),
        "fifo": lambda: os.mkfifo(path),
        "char": lambda: os.mknod(path, stat.S_IFCHR, os.makedev(1, 3)),
        "block": lambda: os.mknod(path, stat.S_IFBLK, os.makedev(7, 300)),
    }
    makers[kind]()
    os.chown(path, node["owner"], node["owner"], follow_symlinks=False)
    if kind != "symlink":
        path.chmod(node["mode"])
    for key, value in node["xattrs"].items():
        if kind == "file" or key.startswith("trusted."):
            os.setxattr(path, key, value, follow_symlinks=False)
    os.utime(path, ns=(9, node["time"]), follow_symlinks=False)
    if node["again"]:
        os.link(path, path.with_name(path.name[:100] + "-again"), follow_symlinks=False)


@given(tree=TREES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_unpacking_what_was_packed_gives_the_same_tree(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    """Names, kinds, owners, modes, times, attributes, links, devices, whiteouts and opaque marks: nothing is lost or added."""
    base = tmp_path_factory.mktemp("pack")
    (base / "upper").mkdir()
    grow(base / "upper", tree)
    archive = packed(base / "upper")
    again = unpacked(archive, base / "again")
    expected = [_as_unpacked(entry) for entry in described(base / "upper")]
    assert [_as_unpacked(entry) for entry in described(again)] == expected
    assert packed(again) == archive, "equal trees give equal archives"
    assert len(members(archive)) >= len(expected)


def _as_unpacked(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    """A whiteout has no owner, mode or time of its own."""
    name, mode, _, _, device, *_ = entry
    return (name, "whiteout") if stat.S_ISCHR(mode) and device == 0 else entry


def test_the_order_in_which_a_tree_was_made_does_not_matter(tmp_path: Path) -> None:
    """The same content has the same bytes, so the same digest."""
    for place, names in (("one", "abc"), ("two", "cab")):
        (tmp_path / place).mkdir()
        for name in names:
            (tmp_path / place / name).write_text(name)
            os.utime(tmp_path / place / name, ns=(1, 10**18))
    assert packed(tmp_path / "one") == packed(tmp_path / "two")


def test_sockets_are_left_out(tmp_path: Path) -> None:
    """A tar archive has no sockets; Docker leaves them out too."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        (tmp_path / "f").write_text("x")
        assert [each.name for each in members(packed(tmp_path))] == ["f"]


def test_s22_a_name_that_would_be_a_whiteout_is_refused_in_a_layer(tmp_path: Path) -> None:
    """A container cannot make its image remove files of the layers below by the name of a file."""
    (tmp_path / ".wh.etc").write_text("")
    with pytest.raises(InvalidArchive, match=r"begins with \.wh\."):
        packed(tmp_path)
    assert [each.name for each in members(packed(tmp_path, FILES))] == [".wh.etc"]


def test_a_redirect_is_refused(tmp_path: Path) -> None:
    """A directory whose content lies under another name would lose it in a layer."""
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", "trusted.overlay.redirect", b"/other")
    with pytest.raises(InvalidArchive, match="lies under another name"):
        packed(tmp_path)


def test_what_the_engine_made_to_mount_on_is_left_out(tmp_path: Path) -> None:
    """Empty placeholders are not the container's; the same names with content are."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text("")
    (tmp_path / "etc/hostname").write_text("mine")
    packing = Packing(overlay=True, placeholders=frozenset({b"proc", b"etc/hosts", b"etc/hostname"}))
    assert [each.name for each in members(packed(tmp_path, packing))] == ["etc", "etc/hostname"]


def test_s17_links_are_packed_and_never_followed(tmp_path: Path) -> None:
    """A link to the host's files is a link in the archive."""
    (tmp_path / "secret").write_text("host")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "secret")
    (tmp_path / "tree/dir").symlink_to(tmp_path)
    found = members(packed(tmp_path / "tree", FILES))
    assert [(each.name, each.issym()) for each in found] == [("dir", True), ("link", True)]


def test_names_begin_with_the_top(tmp_path: Path) -> None:
    """A client gets the directory itself as the first member."""
    (tmp_path / "f").write_text("x")
    assert [each.name for each in members(packed(tmp_path, FILES, b"data"))] == ["data", "data/f"]
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert [each.name for each in members(b"".join(gathered(pack_one(descriptor, b"f", FILES, b"g"))))] == ["g"]
    finally:
        os.close(descriptor)


def test_a_file_that_shrinks_or_grows_meanwhile_keeps_its_announced_length(tmp_path: Path) -> None:
    """A container that runs cannot break the archive: what is missing is zeros, what is more is left out."""
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"y" * 1000)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        pieces = pack_tree(descriptor, FILES)
        data = next(pieces)
        os.truncate(tmp_path / "a", 600_000)
        data += b"".join(pieces)
    finally:
        os.close(descriptor)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        content = tar.extractfile("a")
        assert content is not None
        assert content.read() == b"x" * 600_000 + bytes(2_400_000)


def test_deep_trees_are_refused_and_not_a_crash(tmp_path: Path) -> None:
    """More levels than an archive may have end with a sentence."""
    current = tmp_path
    for _ in range(300):
        current = current / "d"
        current.mkdir()
    with pytest.raises(InvalidArchive, match="deeper than"):
        packed(tmp_path)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"uid": 2**31}, {"uid": 2**31}),
        ({"mtime_ns": 1_500_000_000}, {"mtime": 1.5}),
        ({"mtime_ns": -500_000_000}, {"mtime": -0.5}),
        ({"linkname": b"l" * 200}, {"linkname": "l" * 200}),
        ({"xattrs": {b"user.a": b"1"}}, {"pax": "1"}),
    ],
)
def test_what_ustar_cannot_say_is_said_by_pax(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Other readers understand it."""
    found = members(member_header(b"n" * 150, b"2" if "linkname" in fields else b"0", **fields) + bytes(1024))[0]
    values = {
        "uid": found.uid,
        "mtime": found.mtime,
        "linkname": found.linkname,
        "pax": found.pax_headers.get("SCHILY.xattr.user.a"),
    }
    assert found.name == "n" * 150
    assert {key: values[key] for key in expected} == expected

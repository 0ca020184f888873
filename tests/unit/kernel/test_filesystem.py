"""Overlays of directories in memory: what is shown, and where changes go."""

import pytest

from docket.kernel.fake.filesystem import Directory, File, MergedDirectory, Node, directory_at, paths, read, seed, write
from docket.kernel.fake.linux_errno import EEXIST, EROFS, CallFailed


def tree(**files: bytes) -> Directory:
    """A directory with files; names use two underscores for a slash."""
    root = Directory(0o755)
    seed(root, {"/" + name.replace("__", "/"): content for name, content in files.items()})
    return root


def names(root: Directory) -> list[str]:
    return [path for path, _ in paths(root)]


def test_upper_entries_hide_lower_ones_and_directories_merge() -> None:
    """overlayfs: the top-most file wins, directories show the entries of all."""
    merged = MergedDirectory([tree(), tree(etc__a=b"top"), tree(etc__a=b"low", etc__b=b"low")], True)
    etc = merged.lookup("etc")
    assert isinstance(etc, Directory)
    assert names(merged) == ["/etc", "/etc/a", "/etc/b"]
    assert read(etc.lookup("a") or etc, None, "a") == b"top"


def test_a_whiteout_and_an_opaque_directory_hide_what_is_below() -> None:
    """A 0:0 character device deletes a name; an opaque directory starts afresh."""
    top = tree(etc__new=b"")
    directory_at(top, "/etc").opaque = True
    top.insert("gone", Node(0, kind="c"))
    merged = MergedDirectory([tree(), top, tree(etc__old=b"", gone__x=b"")], True)
    assert names(merged) == ["/etc", "/etc/new"]


def test_changes_go_to_the_upper_layer_only() -> None:
    """A write copies up, with the directories that lead there; a removal leaves a whiteout."""
    upper, lower = tree(), tree(etc__deep__a=b"old", etc__b=b"old")
    merged = MergedDirectory([upper, lower], True)
    deep = directory_at(merged, "/etc/deep")
    inode = deep.lookup("a")
    assert inode is not None
    write(deep, "a", inode, None, b"new")
    directory_at(merged, "/etc").remove("b")
    assert names(merged) == ["/etc", "/etc/deep", "/etc/deep/a"]
    assert names(upper) == ["/etc", "/etc/b", "/etc/deep", "/etc/deep/a"]
    assert names(lower) == ["/etc", "/etc/b", "/etc/deep", "/etc/deep/a"]
    assert read(directory_at(lower, "/etc/deep").lookup("a") or lower, None, "a") == b"old"


def test_a_directory_in_the_place_of_a_removed_one_is_empty() -> None:
    """What was below a whiteout does not come back with a new directory of the same name."""
    merged = MergedDirectory([tree(), tree(d__x=b"")], True)
    directory_at(merged, "/d").remove("x")
    merged.remove("d")
    merged.insert("d", Directory(0o755))
    assert names(merged) == ["/d"]


def test_without_an_upper_layer_nothing_can_be_changed() -> None:
    """EROFS in every depth."""
    merged = MergedDirectory([tree(etc__a=b"")], False)
    for directory in (merged, directory_at(merged, "/etc")):
        with pytest.raises(CallFailed) as caught:
            directory.insert("new", File(0o644))
        assert caught.value.errno == EROFS


def test_names_are_unique() -> None:
    """EEXIST for a second entry of the same name."""
    with pytest.raises(CallFailed) as caught:
        tree(a=b"").insert("a", File(0o644))
    assert caught.value.errno == EEXIST

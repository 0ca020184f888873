"""`docket cp` decides where things go as Docker's client does, and writes nothing outside the directory it was given."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from docket.cli import tar
from docket.cli.commands.cp import Place, arranged, go_base, rebased, split, split_entry
from docket.cli.errors import CliError
from docket.cli.local_tree import archive_of, unpack
from docket.cli.tar import Reader, renamed
from docket.domain.pieces import gathered


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("c:/x", ("c", "/x")), ("/a:b", ("", "/a:b")), ("./a:b", ("", "./a:b")), ("x", ("", "x")), ("c:", ("c", "")),
        ("c:a:b", ("c", "a:b")), (".:x", ("", ".:x")), ("-", ("", "-")),
    ],
)  # fmt: skip
def test_containers_and_local_paths_are_told_apart(argument: str, expected: tuple[str, str]) -> None:
    """By the first colon, unless the path begins with a slash or a dot."""
    assert split(argument) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a/b", ("/a/", "b")), ("/a/b/", ("/a/", "b")), ("/a/b/.", ("/a/b/", ".")), ("b", ("", "b")), ("/", ("/", ""))],
)
def test_a_path_is_split_as_go_does(path: str, expected: tuple[str, str]) -> None:
    """``/.`` stays, a trailing slash does not."""
    assert split_entry(path) == expected


def test_a_followed_link_keeps_the_name_that_was_asked_for() -> None:
    """And the ending of the path."""
    assert rebased("/link", "/real") == ("/real", "link")
    assert rebased("/link/", "/real") == ("/real/", "link")
    assert rebased("/x/real", "/y/real") == ("/y/real", "")
    assert (go_base("/a/"), go_base("/"), go_base("")) == ("a", "/", ".")


def names(pieces: object) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as found:  # type: ignore[arg-type]
        return found.getnames()


@pytest.mark.parametrize(
    ("source", "target", "directory", "name"),
    [
        (Place("/s/f", True), Place("/t", True, True), "/t", "f"),
        (Place("/s/f", True), Place("/t/old", True), "/t/", "old"),
        (Place("/s/f", True), Place("/t/new"), "/t/", "new"),
        (Place("/s/f", True, True), Place("/t/new"), "/t/", "new"),
    ],
)
def test_the_archive_gets_the_names_that_are_wanted(source: Place, target: Place, directory: str, name: str) -> None:
    """Into a directory that is there, over a file, or under a new name."""
    pieces = [tar.header(tar.Member(b"f", tar.DIRECTORY if source.is_directory else tar.REGULAR)), tar.END]
    where, prepared = arranged(pieces, source, target)
    assert (where, names(prepared)) == (directory, [name])


def test_a_directory_does_not_become_a_file() -> None:
    """Docker's words."""
    with pytest.raises(CliError, match="cannot copy directory"):
        arranged([], Place("/s", True, True), Place("/t/f", True))
    with pytest.raises(CliError, match="no such directory"):
        arranged([], Place("/s/f", True), Place("/t/new/"))


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    """Modes, times to the nanosecond, long names, links of both kinds, through a renaming and small pieces."""
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d" / ("n" * 150)).write_bytes(b"x" * 700_000)
    (source / "d/same").hardlink_to(source / "d" / ("n" * 150))
    (source / "d/link").symlink_to("t" * 150)
    (source / "d/empty").write_text("")
    (source / "d/empty").chmod(0o4750)
    os.utime(source / "d/empty", ns=(1, 1_000_000_000_123_456_789))
    os.utime(source / "d", ns=(1, 5))
    archive = b"".join(archive_of(os.fsencode(tmp_path), b"source", b"source"))
    pieces = renamed((archive[start : start + 1000] for start in range(0, len(archive), 1000)), b"source", b"copy")
    unpack(Reader(gathered(pieces)), str(tmp_path))
    copy = tmp_path / "copy"
    assert sorted(os.listdir(copy / "d")) == sorted(os.listdir(source / "d"))
    assert (copy / "d/same").read_bytes() == b"x" * 700_000
    assert os.path.samefile(copy / "d/same", copy / "d" / ("n" * 150))
    assert os.readlink(copy / "d/link") == "t" * 150
    status = (copy / "d/empty").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o4750, 1_000_000_000_123_456_789)
    assert (copy / "d").stat().st_mtime_ns == 5


@pytest.mark.parametrize("kind", ["upwards", "through a link", "hard link through a link", "over a directory"])
def test_s19_an_archive_from_a_container_stays_in_its_directory(kind: str, tmp_path: Path) -> None:
    """Names upwards and links among the parents are refused before anything outside is touched."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/canary").write_text("mine")
    (tmp_path / "into/full/x").mkdir(parents=True)
    link = tar.Member(b"out", tar.SYMLINK, link=os.fsencode(tmp_path / "outside"))
    members = {
        "upwards": [tar.Member(b"../outside/canary", tar.REGULAR)],
        "through a link": [link, tar.Member(b"out/canary", tar.REGULAR)],
        "hard link through a link": [link, tar.Member(b"h", tar.HARD_LINK, link=b"out/canary")],
        "over a directory": [tar.Member(b"full", tar.REGULAR)],
    }[kind]
    with pytest.raises(CliError):
        unpack(Reader([*map(tar.header, members), tar.END]), str(tmp_path / "into"))
    assert (tmp_path / "outside/canary").read_text() == "mine"
    assert os.stat(tmp_path / "outside/canary").st_nlink == 1
    assert (tmp_path / "into/full/x").is_dir()


@pytest.mark.parametrize("cut", [100, 600, 1000])
def test_a_cut_or_damaged_archive_is_one_line(cut: int, tmp_path: Path) -> None:
    """And no traceback."""
    member = tar.Member(b"f", tar.REGULAR, size=1000)
    data = tar.header(member) + b"x" * 1000
    with pytest.raises(CliError, match="ended early"):
        unpack(Reader([data[:cut]]), str(tmp_path))
    with pytest.raises(CliError, match="damaged"):
        unpack(Reader([b"y" + data[1:]]), str(tmp_path))

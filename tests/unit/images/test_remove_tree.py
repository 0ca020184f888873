"""Trees are removed whole, whatever is in them, and links are never followed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket.adapters.images.remove_tree import remove_tree

pytestmark = pytest.mark.usefixtures("descriptors")


@pytest.fixture
def trash(tmp_path: Path, descriptors: None) -> Iterator[int]:
    """A directory that only the engine reaches."""
    (tmp_path / "trash").mkdir()
    descriptor = os.open(tmp_path / "trash", os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_everything_goes_and_links_do_not_lead_out(trash: int, tmp_path: Path) -> None:
    """Files, FIFOs, sockets' names, dangling links; what a link points at stays as it is (S20)."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/canary").write_text("alive")
    tree = tmp_path / "trash/tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    (tree / "a/link").symlink_to("../../../outside")
    (tree / "a/dangling").symlink_to("nowhere")
    os.mkfifo(tree / "a/fifo")
    os.link(tmp_path / "outside/canary", tree / "hard")
    remove_tree(trash, b"tree")
    assert os.listdir(trash) == []
    assert (tmp_path / "outside/canary").read_text() == "alive"


def test_a_single_file_or_link_is_removed(trash: int, tmp_path: Path) -> None:
    """The name itself may be anything."""
    (tmp_path / "trash/link").symlink_to("..")
    remove_tree(trash, b"link")
    assert os.listdir(trash) == []
    with pytest.raises(FileNotFoundError):
        remove_tree(trash, b"link")


def test_s23_depth_is_no_limit(trash: int) -> None:
    """A container can make a tree deeper than any path, any stack and any table of descriptors."""
    here = os.dup(trash)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    remove_tree(trash, b"deeper")
    assert os.listdir(trash) == []

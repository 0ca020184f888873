"""Layers appear whole, under their chain id, and disappear whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.unpack import OPAQUE_XATTR
from docket.domain.errors import Unavailable
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import Digest, InvalidDigest

pytestmark = pytest.mark.root

DIFF_IDS = [Digest("sha256:" + letter * 64) for letter in "abc"]
CHAIN_IDS = chain_ids(DIFF_IDS)


@pytest.fixture
def layers(tmp_path: Path, descriptors: None) -> Iterator[OverlaySnapshotter]:
    """An empty set of layers."""
    opened = OverlaySnapshotter(str(tmp_path))
    yield opened
    opened.close()


def make(layers: OverlaySnapshotter, chain_id: Digest, opaque: bool = False) -> None:
    """A layer with one file of three bytes under two names."""
    with layers.prepare() as active:
        descriptor = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=active.descriptor)
        os.write(descriptor, b"123")
        os.close(descriptor)
        os.link("file", "same", src_dir_fd=active.descriptor, dst_dir_fd=active.descriptor)
        os.symlink("file", "link", dir_fd=active.descriptor)
        if opaque:
            os.setxattr(active.descriptor, OPAQUE_XATTR, b"y")
        layers.commit(active, chain_id)


def test_a_committed_layer_is_found(layers: OverlaySnapshotter) -> None:
    """By chain id, with its size; a second one of the same id changes nothing."""
    assert not layers.has(CHAIN_IDS[0])
    make(layers, CHAIN_IDS[0])
    make(layers, CHAIN_IDS[0])
    assert (layers.has(CHAIN_IDS[0]), layers.chain_ids(), layers.size(CHAIN_IDS[0])) == (True, [CHAIN_IDS[0]], 3)
    assert os.listdir(Path(layers.path, "trash")) == []


def test_lower_directories_are_topmost_first(layers: OverlaySnapshotter) -> None:
    """As overlayfs wants them; a missing one is an error before any mount."""
    for chain_id in CHAIN_IDS[:2]:
        make(layers, chain_id)
    assert layers.lowerdirs(DIFF_IDS[:2]) == (layers.layer_path(CHAIN_IDS[1]), layers.layer_path(CHAIN_IDS[0]))
    with pytest.raises(Unavailable):
        layers.lowerdirs(DIFF_IDS)
    with pytest.raises(InvalidDigest):
        layers.lowerdirs(["sha256:../../etc"])


def test_s22_an_opaque_root_hides_the_layers_below(layers: OverlaySnapshotter) -> None:
    """The kernel ignores the mark on an overlay's root, so the layers below are left out."""
    make(layers, CHAIN_IDS[0])
    make(layers, CHAIN_IDS[1], opaque=True)
    make(layers, CHAIN_IDS[2])
    assert layers.lowerdirs(DIFF_IDS) == (layers.layer_path(CHAIN_IDS[2]), layers.layer_path(CHAIN_IDS[1]))


def test_what_is_not_committed_is_thrown_away(layers: OverlaySnapshotter, tmp_path: Path) -> None:
    """By an error at once, after a crash at the next start."""
    with pytest.raises(RuntimeError), layers.prepare():
        raise RuntimeError("archive ends")
    assert os.listdir(tmp_path / "layers") == os.listdir(tmp_path / "trash") == []
    (tmp_path / "layers/.active-old/x").mkdir(parents=True)
    again = OverlaySnapshotter(str(tmp_path))
    assert os.listdir(tmp_path / "layers") == []
    assert again.empty_trash() == []
    again.close()
    assert os.listdir(tmp_path / "trash") == []


def test_removed_layers_are_gone(layers: OverlaySnapshotter, tmp_path: Path) -> None:
    """Once, and the second time says so."""
    make(layers, CHAIN_IDS[0])
    assert (layers.remove(CHAIN_IDS[0]), layers.remove(CHAIN_IDS[0]), layers.has(CHAIN_IDS[0])) == (True, False, False)
    assert os.listdir(tmp_path / "trash") == []


def test_a_directory_moves_to_the_trash_in_one_step(layers: OverlaySnapshotter, tmp_path: Path) -> None:
    """It is out of sight at once and deleted later; one that is gone is fine."""
    (tmp_path / "containers/x/upper").mkdir(parents=True)
    layers.move_to_trash(str(tmp_path / "containers/x"))
    layers.move_to_trash(str(tmp_path / "containers/x"))
    assert os.listdir(tmp_path / "containers") == []
    assert len(os.listdir(tmp_path / "trash")) == 1
    assert layers.empty_trash() == []
    assert os.listdir(tmp_path / "trash") == []


def test_s39_modes_hold_under_any_umask(tmp_path: Path) -> None:
    """Strangers do not get past layers/ and trash/; a layer's own root is the container's."""
    for umask in (0o000, 0o077):
        old = os.umask(umask)
        try:
            (tmp_path / str(umask)).mkdir()
            layers = OverlaySnapshotter(str(tmp_path / str(umask)))
            make(layers, CHAIN_IDS[0])
        finally:
            os.umask(old)
        layers.close()
        modes = [
            stat.S_IMODE(os.stat(path).st_mode)
            for path in (f"{layers.path}/layers", f"{layers.path}/trash", layers.layer_path(CHAIN_IDS[0]))
        ]
        assert modes == [0o710, 0o710, 0o755]

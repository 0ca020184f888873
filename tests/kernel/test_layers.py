"""Unpacked layers under a real overlay, and the removal of a tree that has a mount in it.

Every mount is made in a mount namespace of a child process, which ends with it.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader
from docket.adapters.images.unpack import unpack_layer
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import Digest, digest_of

pytestmark = pytest.mark.root

ISOLATED = ["unshare", "--mount", "--propagation", "private"]


def archive(*members: tuple[str, bytes | None]) -> bytes:
    """A layer; a member without data is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            member.mode = 0o755
            member.size = len(data or b"")
            tar.addfile(member, io.BytesIO(data or b""))
    return buffer.getvalue()


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[OverlaySnapshotter]:
    """An empty data root."""
    opened = OverlaySnapshotter(str(tmp_path))
    yield opened
    opened.close()


def stack(layers: OverlaySnapshotter, *archives: bytes) -> tuple[str, ...]:
    """Unpacks layers, lowest first, and returns the overlay's lower directories."""
    diff_ids = [digest_of(data) for data in archives]
    for data, chain_id in zip(archives, chain_ids(diff_ids), strict=True):
        with layers.prepare() as active:
            unpack_layer(TarReader(ByteStream(iter([data]), 2**30), TarLimits()), active.descriptor)
            layers.commit(active, chain_id)
    return layers.lowerdirs(diff_ids)


def seen(lowerdirs: tuple[str, ...], where: Path) -> list[str]:
    """The files of the stack as a container would see them, with the content of each."""
    where.mkdir()
    lower = ":".join(lowerdirs) if len(lowerdirs) > 1 else f"{lowerdirs[0]}:{where.parent}/empty"
    (where.parent / "empty").mkdir(exist_ok=True)
    script = (
        'mount -t overlay overlay -o "lowerdir=$1" "$2" && cd "$2" && '
        'find . -type f | sort | while read f; do echo "$f $(cat "$f")"; done'
    )
    run = subprocess.run([*ISOLATED, "sh", "-c", script, "sh", lower, str(where)], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_s22_overlayfs_sees_what_the_image_means(layers: OverlaySnapshotter, tmp_path: Path) -> None:
    """Removed files are gone, opaque directories show their own files only, the rest shines through."""
    lower = archive(
        ("d", None),
        ("d/gone", b"1"),
        ("d/kept", b"2"),
        ("o", None),
        ("o/hidden", b"3"),
        ("w", None),
        ("w/old", b"4"),
        ("f", b"5"),
    )
    upper = archive(
        ("d", None),
        ("d/.wh.gone", b""),
        ("o", None),
        ("o/.wh..wh..opq", b""),
        ("o/new", b"6"),
        (".wh.w", b""),
        ("w", None),
        ("w/new", b"7"),
    )
    assert seen(stack(layers, lower, upper), tmp_path / "mnt") == ["./d/kept 2", "./f 5", "./o/new 6", "./w/new 7"]


def test_s22_an_opaque_root_hides_everything_below(layers: OverlaySnapshotter, tmp_path: Path) -> None:
    """The mark at the very top works as well, although the kernel ignores it there."""
    lowerdirs = stack(layers, archive(("a", b"1")), archive((".wh..wh..opq", b""), ("b", b"2")))
    assert seen(lowerdirs, tmp_path / "mnt") == ["./b 2"]


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_s16_a_live_mount_in_a_removed_tree_keeps_its_data(kind: str, tmp_path: Path) -> None:
    """The removal ends with the reason, and the user's data is all there; without the mount it succeeds."""
    (tmp_path / "data").mkdir()
    for number in range(20):
        (tmp_path / f"data/{number}").write_text("precious")
    root = tmp_path / "root"
    target = root / "containers/c/rootfs/mnt"
    target.parent.mkdir(parents=True)
    source = tmp_path / "data"
    if kind == "directory":
        target.mkdir()
    else:
        target.write_text("")
        source = tmp_path / "data/0"
    program = (
        "import sys\n"
        "from docket.adapters.images.layers import OverlaySnapshotter\n"
        "layers = OverlaySnapshotter(sys.argv[1])\n"
        "layers.move_to_trash(sys.argv[1] + '/containers/c')\n"
        "print(layers.empty_trash())\n"
    )
    command = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$5"'
    python = [sys.executable, program, str(root)]
    run = subprocess.run(
        [*ISOLATED, "sh", "-c", command, "sh", str(source), str(target), *python], capture_output=True, text=True, check=True
    )
    assert "cross-device" in run.stdout or "busy" in run.stdout
    assert sorted(path.read_text() for path in (tmp_path / "data").iterdir()) == ["precious"] * 20
    layers = OverlaySnapshotter(str(root))
    assert layers.empty_trash() == []
    layers.close()
    assert os.listdir(root / "trash") == []
    assert len(os.listdir(tmp_path / "data")) == 20


def test_blobs_and_layers_survive_reopening(layers: OverlaySnapshotter, tmp_path: Path) -> None:
    """A second engine finds what the first one committed."""
    data = archive(("a", b"1"))
    (lower,) = stack(layers, data)
    store = ContentStore(str(tmp_path / "content"))
    digest: Digest = store.put(data)
    store.close()
    again, reopened = OverlaySnapshotter(str(tmp_path)), ContentStore(str(tmp_path / "content"))
    assert again.lowerdirs([digest]) == (lower,)
    assert reopened.read(digest) == data
    again.close()
    reopened.close()

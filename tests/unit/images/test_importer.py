"""An import is whole or nothing, in one pass."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from docket.adapters.images.base_image import REFERENCE, import_base
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.importer import ImageImporter, ImportedImage
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.tar_reader import TarLimits
from docket.domain.errors import InvalidArgument, KernelError, Rejected
from docket.domain.oci.descriptor import Platform
from docket.domain.oci.image_config import decode_image_config
from docket.domain.oci.manifest import OCI_MANIFEST, Manifest, decode_manifest

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

pytestmark = pytest.mark.root

PACKERS: dict[str, tuple[Callable[[bytes], bytes], str, bool]] = {
    "plain": (bytes, "tar", True),
    "gzip": (gzip.compress, "tar+gzip", True),
    "zstd": (zstd.compress, "tar+zstd", True),
    "xz": (lzma.compress, "tar", False),
    "bzip2": (bz2.compress, "tar", False),
}


class Engine:
    """A data root with its adapters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ContentStore(str(root / "content"))
        self.layers = OverlaySnapshotter(str(root))
        self.importer = ImageImporter(self.store, self.layers, TarLimits(total_bytes=4_000_000))

    def load(self, data: bytes | Iterator[bytes], **options: Any) -> ImportedImage:
        """Imports in pieces."""
        chunks = data if not isinstance(data, bytes) else (data[start : start + 5000] for start in range(0, len(data), 5000))
        return self.importer.import_tar(chunks, created="2026-01-01T00:00:00Z", platform=Platform("amd64", "linux"), **options)

    def assert_empty(self) -> None:
        """No blob and no layer, half or whole."""
        assert self.store.digests() == []
        for name in ("layers", "trash", "content/ingest"):
            assert os.listdir(self.root / name) == []


@pytest.fixture
def engine(tmp_path: Path, descriptors: None) -> Iterator[Engine]:
    """A fresh data root."""
    made = Engine(tmp_path)
    yield made
    made.store.close()
    made.layers.close()


@pytest.mark.parametrize("packing", PACKERS)
def test_an_archive_becomes_an_image(packing: str, engine: Engine, archive: Any) -> None:
    """However it is packed, the diff id is that of the archive, the blob is as it came, and the layer is unpacked."""
    pack, media_type, kept = PACKERS[packing]
    data = archive.add("etc/", "dir").add("etc/motd", data=b"hello").add("big", data=os.urandom(300_000)).bytes()
    packed = pack(data)
    image = engine.load(packed, changes=['CMD ["cat", "/etc/motd"]', "ENV A=b"], message="why", author="who")
    stored = packed if kept else data
    assert image.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert image.layer.digest == "sha256:" + hashlib.sha256(stored).hexdigest()
    assert image.layer.media_type == f"application/vnd.oci.image.layer.v1.{media_type}"
    assert engine.store.read(image.layer.digest) == stored
    manifest = decode_manifest(engine.store.read(image.manifest.digest), OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    assert (manifest.config.digest, manifest.layers) == (image.image_id, (image.layer,))
    config = decode_image_config(engine.store.read(image.image_id))
    assert config == image.config
    assert (config.config.cmd, config.config.env, config.rootfs.diff_ids) == (("cat", "/etc/motd"), ("A=b",), (image.diff_id,))
    assert (config.history[0].comment, config.author, image.size, image.members) == ("why", "who", 300_005, 3)
    (layer,) = engine.layers.lowerdirs([image.diff_id])
    assert Path(layer, "etc/motd").read_bytes() == b"hello"


def test_the_same_archive_is_the_same_image(engine: Engine, archive: Any) -> None:
    """Importing twice adds nothing."""
    data = archive.add("f", data=b"x").bytes()
    first = engine.load(data)
    digests = engine.store.digests()
    assert engine.load(iter([data])) == first
    assert engine.store.digests() == digests
    assert len(engine.layers.chain_ids()) == 1
    assert os.listdir(engine.root / "trash") == []


def test_bytes_behind_the_end_belong_to_the_digest(engine: Engine, archive: Any) -> None:
    """tar pads to records; what is hashed is what came, to the last byte."""
    data = archive.add("f").bytes() + bytes(8192)
    assert engine.load(gzip.compress(data)).diff_id == "sha256:" + hashlib.sha256(data).hexdigest()


BAD: dict[str, Callable[[Any], bytes]] = {
    "empty": lambda a: b"",
    "text": lambda a: b"no archive at all" * 100,
    "truncated": lambda a: a.add("f", data=b"x" * 3000).data[:-600],
    "truncated-gzip": lambda a: gzip.compress(a.add("f", data=os.urandom(9000)).bytes())[:-20],
    "climbs": lambda a: a.add("good").add("../f").bytes(),
    "gzip-bomb": lambda a: gzip.compress(a.add("f", size=40_000_000).data + bytes(40_000_000)),
    "nested-gzip": lambda a: gzip.compress(gzip.compress(a.add("f").bytes())),
    "sparse": lambda a: a.add("f", b"S").bytes(),
}


@pytest.mark.parametrize("name", BAD)
def test_s23_a_bad_archive_leaves_nothing(name: str, engine: Engine, archive: Any) -> None:
    """Damaged, hostile or too large: one sentence, and neither blob nor layer."""
    with pytest.raises(Rejected) as caught:
        engine.load(BAD[name](archive))
    assert isinstance(caught.value.rejection, InvalidArgument)
    assert caught.value.rejection.message.startswith("cannot import the archive: ")
    engine.assert_empty()


def test_a_wrong_change_is_refused_before_a_byte_is_read(engine: Engine) -> None:
    """Nothing is uploaded in vain."""

    def unread() -> Iterator[bytes]:
        raise AssertionError("read")
        yield b""

    with pytest.raises(Rejected, match="not a valid change"):
        engine.load(unread(), changes=["RUN x"])
    engine.assert_empty()


def test_a_broken_connection_and_a_full_disk_leave_nothing(
    engine: Engine, archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends an import half-way, the data root is as before."""
    data = archive.add("f", data=b"x" * 9000).bytes()

    def broken() -> Iterator[bytes]:
        yield data[:4000]
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(KernelError):
        engine.load(broken())
    engine.assert_empty()

    def full(descriptor: int, size: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("docket.adapters.images.unpack.write_all", full)
        with pytest.raises(KernelError, match="No space left"):
            engine.load(data)
    engine.assert_empty()


def test_the_base_image_is_imported_the_ordinary_way(engine: Engine) -> None:
    """Twice gives the same id, and its shell runs in its own root."""
    importer = ImageImporter(engine.store, engine.layers)
    image = import_base(importer)
    assert import_base(importer).image_id == image.image_id
    (layer,) = engine.layers.lowerdirs([image.diff_id])
    shell = subprocess.run(
        ["chroot", layer, "/bin/sh", "-c", "cat /etc/os-release; id -u"], capture_output=True, text=True, check=True
    )
    assert shell.stdout.endswith("\n0\n")
    assert "docket base" in shell.stdout


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_skopeo_reads_the_content_store(engine: Engine, archive: Any, tmp_path: Path) -> None:
    """What docket holds, other tools can inspect and copy."""
    image = engine.load(gzip.compress(archive.add("f", data=b"x").bytes()), changes=["LABEL a=b"])
    engine.store.set_reference(REFERENCE, image.manifest)
    source = f"oci:{engine.store.path}:{REFERENCE}"
    shown = subprocess.run(["skopeo", "inspect", source], capture_output=True, text=True, check=True)
    found = json.loads(shown.stdout)
    assert (found["Digest"], found["Labels"], found["Layers"]) == (image.manifest.digest, {"a": "b"}, [image.layer.digest])
    subprocess.run(["skopeo", "copy", source, f"dir:{tmp_path}/copy"], capture_output=True, check=True)

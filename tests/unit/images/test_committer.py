"""An image of a writable layer: the parent's layers and one more, whole on disk, the same for the same content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from docket.adapters.images.committer import EMPTY_LAYER, ImageCommitter
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.importer import ImageImporter, ImportedImage
from docket.adapters.images.layers import OverlaySnapshotter
from docket.domain.errors import PortError, Rejected
from docket.domain.layer_commit import LayerCommit
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.descriptor import Platform
from docket.domain.oci.image_config import ExecutionParameters
from docket.domain.oci.manifest import OCI_MANIFEST, Manifest, decode_manifest

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("descriptors")]
CREATED = "2026-01-02T03:04:05Z"


class Bench:
    """A store with an image of one layer, and a writable layer."""

    def __init__(self, root: Path) -> None:
        self.store = ContentStore(str(root / "content"))
        self.layers = OverlaySnapshotter(str(root))
        self.upper = root / "upper"
        self.upper.mkdir()
        self.committer = ImageCommitter(self.store, self.layers)
        importer = ImageImporter(self.store, self.layers)
        self.parent = importer.import_tar([bytes(1024)], created=CREATED, platform=Platform("arm64", "linux", variant="v8"))

    def commit(self, parent: ImportedImage | None = None, **more: str) -> ImportedImage:
        of = parent or self.parent
        asked = LayerCommit(
            str(of.manifest.digest), of.size, str(self.upper), frozenset({"proc"}), ExecutionParameters(cmd=("x",)), **more
        )
        return self.committer.commit(asked, CREATED)

    def manifest(self, image: ImportedImage) -> Manifest:
        found = decode_manifest(self.store.read(image.manifest.digest), OCI_MANIFEST)
        assert isinstance(found, Manifest)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()
    made.layers.close()


def test_a_commit_adds_a_layer_and_a_line_of_history(bench: Bench) -> None:
    """Platform and lower layers stay; the layer is in the store as gzip, and unpacked by its chain id."""
    (bench.upper / "f").write_text("content")
    (bench.upper / "proc").mkdir()
    made = bench.commit(author="me", comment="why", created_by="sh")
    assert made.config.rootfs.diff_ids == (bench.parent.diff_id, made.diff_id)
    assert [(line.comment, line.created_by, line.empty_layer) for line in made.config.history][1:] == [("why", "sh", False)]
    assert (made.config.architecture, made.config.variant, made.config.author) == ("arm64", "v8", "me")
    assert made.config.config.cmd == ("x",)
    assert bench.manifest(made).layers == (bench.parent.layer, made.layer)
    path = bench.layers.layer_path(chain_ids(made.config.rootfs.diff_ids)[-1])
    assert sorted(os.listdir(path)) == ["f"]
    assert made.size == bench.parent.size + 7


def test_a_commit_without_changes_has_no_layer_of_its_own(bench: Bench) -> None:
    """Its history says so; also where there is no writable layer at all."""
    for _ in range(2):
        made = bench.commit()
        assert (made.diff_id, made.config.rootfs) == (EMPTY_LAYER, bench.parent.config.rootfs)
        assert made.config.history[-1].empty_layer
        assert bench.manifest(made).layers == (bench.parent.layer,)
        if bench.upper.exists():
            bench.upper.rmdir()


def test_the_same_layer_over_other_layers_is_unpacked_for_each(bench: Bench) -> None:
    """Chain ids, not diff ids, name what is unpacked."""
    (bench.upper / "f").write_text("content")
    once = bench.commit()
    twice = bench.commit(once)
    assert once.layer == twice.layer
    assert twice.config.rootfs.diff_ids == (bench.parent.diff_id, once.diff_id, once.diff_id)
    assert len(bench.layers.chain_ids()) == 3


def test_what_cannot_be_in_a_layer_leaves_nothing(bench: Bench) -> None:
    """Neither a blob nor a layer."""
    (bench.upper / ".wh.x").write_text("")
    before = (bench.store.digests(), bench.layers.chain_ids())
    with pytest.raises(Rejected, match="cannot commit the container"):
        bench.commit()
    assert (bench.store.digests(), bench.layers.chain_ids()) == before
    assert os.listdir(Path(bench.store.path, "ingest")) == []


def test_a_damaged_parent_is_an_error_that_names_it(bench: Bench) -> None:
    """Nothing is built on what rotted."""
    digest = bench.parent.manifest.digest
    Path(bench.store.path, "blobs/sha256", digest.partition(":")[2]).write_bytes(b"{}")
    with pytest.raises(PortError, match="damaged"):
        bench.commit()


def test_no_more_layers_than_can_be_stacked(bench: Bench) -> None:
    """Docker's text for the 128th."""
    manifest = bench.manifest(bench.parent)
    many = msgspec.structs.replace(manifest, layers=(bench.parent.layer,) * 127)
    digest = bench.store.put(msgspec.json.encode(many, order="sorted"))
    deep = msgspec.structs.replace(bench.parent, manifest=msgspec.structs.replace(bench.parent.manifest, digest=digest))
    with pytest.raises(Rejected, match="max depth exceeded"):
        bench.commit(deep)

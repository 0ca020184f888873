"""Every document that docket writes into the store or an archive is what OCI's image specification says."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.oci_schemas import layout_problems, originals, problems
from tests.tars import tar_of

from docket.adapters.images.archive_writing import write_archive
from docket.adapters.images.committer import ImageCommitter
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.importer import ImageImporter, ImportedImage
from docket.adapters.images.ingest import ImageIngest
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.loading import load_archive
from docket.adapters.images.tar_reader import TarLimits
from docket.domain.image_ports import SavedImage, StoredImage
from docket.domain.layer_commit import LayerCommit
from docket.domain.oci.descriptor import Platform
from docket.domain.oci.image_config import ExecutionParameters

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("descriptors")]
CREATED = "2026-01-02T03:04:05.678901Z"
CHANGES = (
    "ENV A=1 B=two", "CMD [\"sh\"]", "ENTRYPOINT [\"/bin/sh\", \"-c\"]", "EXPOSE 80 53/udp", "VOLUME /data", "USER 1:2",
    "WORKDIR /srv", "LABEL a=b c.d=", "STOPSIGNAL SIGUSR1",
)  # fmt: skip


class Writers:
    """A data root, and all that writes documents into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ContentStore(str(root / "content"))
        self.layers = OverlaySnapshotter(str(root))
        self.importer = ImageImporter(self.store, self.layers)

    def imported(self, data: bytes = bytes(1024), **more: Any) -> ImportedImage:
        platform = Platform("arm64", "linux", variant="v8")
        return self.importer.import_tar([data], created=CREATED, platform=platform, message="why", **more)

    def committed(self) -> ImportedImage:
        (self.root / "upper").mkdir()
        (self.root / "upper/f").write_text("content")
        of = self.imported()
        parameters = ExecutionParameters(cmd=("x",))
        asked = LayerCommit(str(of.manifest.digest), of.size, str(self.root / "upper"), frozenset(), parameters, author="me")
        return ImageCommitter(self.store, self.layers).commit(asked, CREATED)

    def saved(self, *images: ImportedImage) -> dict[str, bytes]:
        """The files of an archive of these images."""
        asked = [
            SavedImage(
                StoredImage(
                    str(each.image_id), str(each.manifest.digest), each.manifest.media_type, each.config.rootfs.diff_ids
                ),
                (f"docker.io/library/app:{number}",),
            )
            for number, each in enumerate(images)
        ]
        return files_of(b"".join(write_archive(self.store, asked)))

    def layout(self) -> dict[str, bytes]:
        """The files of the content store itself."""
        folder = self.root / "content"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files_of(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = {member.name: opened.extractfile(member) for member in opened if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    made = Writers(tmp_path)
    yield made
    made.store.close()
    made.layers.close()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_an_import_writes_what_the_specification_says(writers: Writers, pack: Callable[[bytes], bytes]) -> None:
    """With every change that can be asked for, and however the layer is packed."""
    assert layout_problems(writers.saved(writers.imported(pack(bytes(1024)), changes=CHANGES))) == []


def test_a_commit_writes_what_the_specification_says(writers: Writers) -> None:
    """Beside its parent, in one archive."""
    assert layout_problems(writers.saved(writers.committed(), writers.imported())) == []


async def test_a_docker_archive_is_given_a_manifest(writers: Writers) -> None:
    """It has none of its own: the one that docket writes for it is OCI's."""
    files = writers.saved(writers.imported())
    del files["index.json"], files["oci-layout"]
    archive = tar_of(files)

    async def chunks() -> Any:
        yield archive

    ingest = ImageIngest(writers.store, writers.layers)
    (loaded,) = await load_archive(writers.store, ingest, chunks(), lambda diff_id, current, total: None, TarLimits())
    assert problems("manifest", writers.store.read(loaded.imported.manifest)) == []  # type: ignore[arg-type]


def test_the_store_is_a_layout(writers: Writers) -> None:
    """Empty, with names, and with one of them gone."""
    assert layout_problems(writers.layout()) == []
    one, two = writers.imported().manifest, writers.committed().manifest
    writers.store.set_references({"docker.io/library/a:1": one, "docker.io/library/b:1": two})
    assert layout_problems(writers.layout()) == []
    assert writers.store.remove_reference("docker.io/library/a:1")
    assert layout_problems(writers.layout()) == []


def _changed(document: bytes, change: Callable[[Any], object]) -> bytes:
    found = json.loads(document)
    change(found)
    return json.dumps(found).encode()


MISTAKES: list[tuple[str, str, Callable[[Any], object]]] = [
    ("layout", "imageLayoutVersion", lambda found: found.update(imageLayoutVersion="1.1.0")),
    ("index", "schemaVersion", lambda found: found.update(schemaVersion=1)),
    ("index", "mediaType", lambda found: found.pop("mediaType")),
    ("index", "digest", lambda found: found["manifests"][0].update(digest="sha256:abc")),
    ("index", "architecture", lambda found: found["manifests"][0]["platform"].pop("architecture")),
    ("index", "annotations", lambda found: found["manifests"][0]["annotations"].update(a=1)),
    ("manifest", "size", lambda found: found["config"].update(size=-1)),
    ("manifest", "size", lambda found: found["config"].update(size="12")),
    ("manifest", "layers", lambda found: found.update(layers=[])),
    ("manifest", "mediaType", lambda found: found["layers"][0].update(mediaType="application/x-tar")),
    ("manifest", "config", lambda found: found.pop("config")),
    ("config", "os", lambda found: found.pop("os")),
    ("config", "created", lambda found: found.update(created="yesterday")),
    ("config", "diff_ids", lambda found: found["rootfs"].update(diff_ids=["abc"])),
    ("config", "rootfs", lambda found: found["rootfs"].pop("type")),
    ("config", "Env", lambda found: found["config"].update(Env={"A": "1"})),
    ("config", "Volumes", lambda found: found["config"].update(Volumes=["/data"])),
    ("config", "empty_layer", lambda found: found["history"][0].update(empty_layer="yes")),
    ("config", "created", lambda found: found["history"][0].update(created=0)),
]


@pytest.mark.parametrize(("kind", "where", "mistake"), MISTAKES)
def test_the_check_finds_mistakes(writers: Writers, kind: str, where: str, mistake: Callable[[Any], object]) -> None:
    """A missing member, a wrong type, a wrong pattern: each is told with its place."""
    files = writers.saved(writers.imported(changes=CHANGES))
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = files[f"blobs/sha256/{entry['digest'][7:]}"]
    config = files[f"blobs/sha256/{json.loads(manifest)['config']['digest'][7:]}"]
    good = {"layout": files["oci-layout"], "index": files["index.json"], "manifest": manifest, "config": config}[kind]
    assert problems(kind, good) == []
    found = problems(kind, _changed(good, mistake))
    assert any(where in problem for problem in found), found


@pytest.mark.skipif(originals() is None, reason="needs OCI's image-spec schemas: name their directory with DOCKET_IMAGE_SPEC")
def test_the_originals_are_asked_too() -> None:
    """What both refuse is told twice, and what only docket's own refuse once."""
    assert len(problems("layout", b'{"imageLayoutVersion":"2"}')) == 2
    assert len(problems("layout", b'{"imageLayoutVersion":"1.0.0","more":1}')) == 1

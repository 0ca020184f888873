"""Archives of images: what docket writes it reads, both formats are read, and whatever an archive says, it stays an archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.port import ImageImports
from docket.adapters.images.tar_reader import TarLimits
from docket.domain.errors import PortError, Rejected
from docket.domain.image_ports import LoadedImage, SavedImage, StoredImage, Swept
from docket.domain.model.image.events import ImageImported
from docket.domain.oci.manifest import OCI_MANIFEST

pytestmark = pytest.mark.root

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
Files = dict[str, bytes]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Engine:
    """A data root with its adapters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ContentStore(str(root / "content"))
        self.layers = OverlaySnapshotter(str(root))
        self.images = ImageImports(self.store, self.layers, TarLimits(total_bytes=8_000_000))

    async def load(self, data: bytes) -> list[LoadedImage]:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 5000):
                await trio.lowlevel.checkpoint()
                yield data[start : start + 5000]

        return await self.images.load(chunks(), lambda diff_id, current, total: None)

    async def save(self, *images: SavedImage) -> bytes:
        return b"".join([piece async for piece in self.images.save(images)])

    async def sweep(self, *images: StoredImage) -> Swept:
        return await self.images.sweep(images, (), partials=True)


@pytest.fixture
def engine(tmp_path: Path, descriptors: None) -> Iterator[Engine]:
    """A fresh data root."""
    made = Engine(tmp_path)
    yield made
    made.store.close()
    made.layers.close()


@pytest.fixture
def layer(archive: Any) -> bytes:
    """A layer's archive."""
    data: bytes = archive.add("etc/", "dir").add("etc/motd", data=b"hello").add("big", data=os.urandom(20_000)).bytes()
    return data


def tar(files: Files, links: dict[str, str] | None = None) -> bytes:
    """An archive of these files, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def config_of(*layers: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{sha256(data)}" for data in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()


def docker_archive(layer: bytes, **entry: Any) -> Files:
    """As docker save wrote it before version 25, and as skopeo and podman write it."""
    config = config_of(layer)
    row = {"Config": f"{sha256(config)}.json", "RepoTags": ["app:1"], "Layers": [f"{sha256(layer)}.tar"], **entry}
    return {
        f"{sha256(layer)}.tar": layer,
        f"{sha256(config)}.json": config,
        "manifest.json": json.dumps([row]).encode(),
    }


def oci_archive(layer: bytes, name: str = "app:1", packed: bytes | None = None) -> Files:
    """As skopeo and umoci write it."""
    blob, config = gzip.compress(layer, mtime=0) if packed is None else packed, config_of(layer)
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": CONFIG_TYPE, "digest": f"sha256:{sha256(config)}", "size": len(config)},
            "layers": [{"mediaType": kind, "digest": f"sha256:{sha256(blob)}", "size": len(blob)}],
        }
    ).encode()
    entry = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{sha256(manifest)}", "size": len(manifest)}
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    return {
        **{f"blobs/sha256/{sha256(data)}": data for data in (blob, config, manifest)},
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
    }


def stored(imported: ImageImported) -> StoredImage:
    return StoredImage(imported.image, imported.manifest, imported.manifest_type, imported.layers)


@pytest.mark.parametrize("form", [docker_archive, oci_archive])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
async def test_both_formats_are_loaded(
    form: Callable[[bytes], Files], pack: Callable[[bytes], bytes], engine: Engine, layer: bytes
) -> None:
    """Packed or not; the image id is the config's digest, and the layer is unpacked."""
    (loaded,) = await engine.load(pack(tar(form(layer))))
    assert loaded.references == ("docker.io/library/app:1",)
    assert loaded.imported.image == f"sha256:{sha256(config_of(layer))}"
    assert loaded.imported.origin == "load"
    assert (engine.root / "layers" / sha256(layer) / "etc/motd").read_bytes() == b"hello"


async def test_what_is_saved_is_loaded_with_the_same_digests(engine: Engine, layer: bytes, tmp_path: Path) -> None:
    """The manifest too: an archive of docket's is a docker archive and an OCI layout, and the index lends its manifest."""
    (loaded,) = await engine.load(tar(oci_archive(layer)))
    names = ("docker.io/library/app:1", "docker.io/library/app:2")
    archive = await engine.save(SavedImage(stored(loaded.imported), names))
    assert archive == await engine.save(SavedImage(stored(loaded.imported), names))
    (tmp_path / "other").mkdir()
    other = Engine(tmp_path / "other")
    (again,) = await other.load(archive)
    assert again.references == names
    assert again.imported == loaded.imported
    assert other.store.digests() == engine.store.digests()
    other.store.close()
    other.layers.close()


async def test_written_documents_are_what_the_specification_says(engine: Engine, layer: bytes) -> None:
    """The members that OCI's schemas require, with the types and patterns that they have."""
    (loaded,) = await engine.load(tar(oci_archive(layer)))
    with tarfile.open(
        fileobj=io.BytesIO(await engine.save(SavedImage(stored(loaded.imported), ("docker.io/a/b:1",))))
    ) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        read = {name: file.read() for name, file in files.items() if file is not None}
    assert list(read) == sorted(read, key=lambda name: (not name.startswith("blobs/"), name))
    index = json.loads(read["index.json"])
    assert index["schemaVersion"] == 2
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    (entry,) = index["manifests"]
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    assert all(isinstance(value, str) for value in entry["annotations"].values())
    assert json.loads(read["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for path, data in read.items():
        if path.startswith("blobs/"):
            assert path == f"blobs/sha256/{sha256(data)}"
    manifest = json.loads(read[f"blobs/sha256/{entry['digest'][7:]}"])
    assert len(read[f"blobs/sha256/{entry['digest'][7:]}"]) == entry["size"]
    (row,) = json.loads(read["manifest.json"])
    assert row["Config"] == f"blobs/sha256/{manifest['config']['digest'][7:]}"
    assert row["Layers"] == [f"blobs/sha256/{each['digest'][7:]}" for each in manifest["layers"]]
    assert row["RepoTags"] == ["a/b:1"]


async def test_links_between_layers_are_followed_in_the_archive(engine: Engine, layer: bytes) -> None:
    """Older dockers and skopeo write a layer once and link to it from where else it is used."""
    files = docker_archive(layer, Layers=["old/layer.tar"])
    (loaded,) = await engine.load(tar(files, {"old/layer.tar": f"../{sha256(layer)}.tar"}))
    assert loaded.imported.layers == (f"sha256:{sha256(layer)}",)


async def test_an_index_gives_the_image_of_this_machine(engine: Engine, layer: bytes) -> None:
    """An index in the index is looked into; attestations and other platforms are left alone."""
    files = oci_archive(layer)
    (entry,) = json.loads(files["index.json"])["manifests"]
    inner = [
        {**entry, "platform": {"architecture": "s390x", "os": "linux"}, "digest": f"sha256:{'0' * 64}"},
        {**entry, "platform": {"architecture": "amd64", "os": "linux"}},
        {**entry, "platform": {"architecture": "unknown", "os": "unknown"}, "digest": f"sha256:{'1' * 64}"},
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    nested = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": inner}).encode()
    files[f"blobs/sha256/{sha256(nested)}"] = nested
    outer = {"mediaType": kind, "digest": f"sha256:{sha256(nested)}", "size": len(nested), "annotations": entry["annotations"]}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [outer]}).encode()
    (loaded,) = await engine.load(tar(files))
    assert loaded.imported.manifest == entry["digest"]


def _without(name: str) -> Callable[[Files], Files]:
    return lambda files: {path: data for path, data in files.items() if not path.startswith(name)}


def _with(path: str, data: bytes) -> Callable[[Files], Files]:
    return lambda files: {**files, path: data}


def _manifest(**entry: Any) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        (row,) = json.loads(files["manifest.json"])
        return {**files, "manifest.json": json.dumps([{**row, **entry}]).encode()}

    return change


HOSTILE: dict[str, tuple[Callable[[bytes], Files], Callable[[Files], Files], str]] = {
    "no documents": (docker_archive, _without("manifest.json"), "no archive of images"),
    "no images": (docker_archive, _with("manifest.json", b"[]"), "0 images"),
    "layer outside": (docker_archive, _manifest(Layers=["../../etc/passwd"]), "is not in it"),
    "config outside": (docker_archive, _manifest(Config="/etc/hostname"), "is not in it"),
    "layer missing": (docker_archive, _manifest(Layers=["gone.tar"]), "is not in it"),
    "a layer too many": (docker_archive, _manifest(Layers=[]), "0 layers in its manifest and 1 in its config"),
    "wrong tag": (docker_archive, _manifest(RepoTags=["UPPER"]), "must be lowercase"),
    "member outside": (docker_archive, _with("../escape", b"x"), "could leave the layer"),
    "wrong blob": (oci_archive, _with(f"blobs/sha256/{'0' * 64}", b"x"), "has the digest"),
    "no digest": (oci_archive, _with("blobs/sha256/../../x", b"x"), "could leave the layer"),
    "upper case digest": (oci_archive, _with(f"blobs/sha256/{'A' * 64}", b"x"), "invalid checksum digest format"),
    "index that is none": (oci_archive, _with("index.json", b'{"schemaVersion":2,"layers":[],"manifests":[]}'), "either"),
    "twice one key": (docker_archive, _with("manifest.json", b'[{"Config":"a","Config":"b"}]'), "stands twice"),
    "case": (docker_archive, _with("manifest.json", b'[{"config":"a"}]'), "in case only"),
    "huge document": (docker_archive, _with("manifest.json", b" " * 5_000_000), "too many for a document"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_s19_hostile_archives_are_refused(name: str, engine: Engine, layer: bytes) -> None:
    """One clear error, nothing outside of the data root, no layer, and nothing that a sweep does not take away."""
    form, change, reason = HOSTILE[name]
    with pytest.raises(Rejected, match=reason):
        await engine.load(tar(change(form(layer))))
    await engine.sweep()
    assert engine.store.digests() == []
    assert os.listdir(engine.root / "layers") == []
    assert sorted(path.name for path in engine.root.iterdir()) == ["content", "layers", "trash"]


async def test_s19_links_in_a_circle_end(engine: Engine, layer: bytes) -> None:
    """Links mean paths of the archive only, and not for ever."""
    files = docker_archive(layer, Layers=["a"])
    with pytest.raises(Rejected, match="too many links"):
        await engine.load(tar(files, {"a": "b", "b": "a"}))


async def test_s26_a_layer_that_is_another_is_refused(engine: Engine, layer: bytes, new_archive: Callable[[], Any]) -> None:
    """The config's diff id decides, whatever the archive calls the layer; nothing is visible afterwards."""
    other = new_archive().add("evil", data=b"x").bytes()
    files = {**docker_archive(layer), f"{sha256(layer)}.tar": other}
    with pytest.raises(Rejected, match="the image config says"):
        await engine.load(tar(files))
    assert os.listdir(engine.root / "layers") == []


async def test_a_truncated_archive_loads_nothing(engine: Engine, layer: bytes) -> None:
    """Cut anywhere: an error, and no layer."""
    data = tar(oci_archive(layer))
    for length in (0, 100, 1500, len(data) // 2):
        with pytest.raises(Rejected):
            await engine.load(data[:length])
    assert os.listdir(engine.root / "layers") == []


async def test_a_blob_that_rotted_is_not_saved(engine: Engine, layer: bytes) -> None:
    """The archive breaks off before the blob is whole: whoever reads it notices."""
    (loaded,) = await engine.load(tar(docker_archive(layer)))
    path = engine.root / "content/blobs/sha256" / sha256(layer)
    path.write_bytes(layer[:-1] + b"\1")
    with pytest.raises(PortError, match="damaged"):
        await engine.save(SavedImage(stored(loaded.imported), ()))


async def test_a_sweep_takes_what_no_image_needs(engine: Engine, layer: bytes, new_archive: Callable[[], Any]) -> None:
    """Blobs and layers of the images that are left stay, shared ones too; the beginnings of blobs go."""
    (kept,) = await engine.load(tar(oci_archive(layer)))
    other = new_archive().add("other", data=b"x" * 1000).bytes()
    await engine.load(tar(oci_archive(other)))
    with engine.store.partial(engine.store.digests()[0], 100) as blob:
        blob.write(b"1234")
    swept = await engine.sweep(stored(kept.imported))
    assert swept.layers == 1
    assert swept.blobs == 3
    assert swept.reclaimed_bytes > 1000
    assert os.listdir(engine.root / "content/ingest") == []
    await engine.save(SavedImage(stored(kept.imported), ()))


async def test_no_blob_is_swept_while_a_manifest_cannot_be_read(engine: Engine, layer: bytes) -> None:
    """It might be one that this manifest names."""
    (loaded,) = await engine.load(tar(oci_archive(layer)))
    path = engine.root / "content/blobs/sha256" / loaded.imported.manifest[7:]
    path.write_bytes(path.read_bytes() + b" ")
    before = engine.store.digests()
    swept = await engine.sweep(stored(loaded.imported))
    assert (swept.blobs, swept.layers) == (0, 0)
    assert engine.store.digests() == before

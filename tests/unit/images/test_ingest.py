"""Images of many layers: whole or nothing, no byte fetched twice, and nothing believed that was not digested."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from docket.adapters.images.content_store import BlobWriter, ContentStore
from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.ingest import BlobCut, ImageIngest
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.tar_reader import TarLimits
from docket.domain.errors import DigestMismatch, KernelError, PortError
from docket.domain.model.image.events import ImageImported
from docket.domain.oci.image_config import decode_image_config
from docket.domain.oci.manifest import DOCKER_MANIFEST, OCI_MANIFEST, Manifest, decode_manifest
from docket.domain.oci.stack import StackedLayer, layer_stack
from docket.domain.oci.strict_json import InvalidDocument

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

pytestmark = pytest.mark.root

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar+gzip": lambda data: gzip.compress(data, mtime=0),
    "tar+zstd": zstd.compress,
}


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Source:
    """An image somewhere else: its documents, its blobs, and how often each byte of them was asked for."""

    def __init__(self, layers: list[bytes], packing: str = "tar+gzip", media_type: str = OCI_MANIFEST) -> None:
        self.media_type = media_type
        self.blobs: dict[str, bytes] = {}
        self.asked: list[tuple[str, int]] = []
        descriptors = []
        for data in layers:
            blob = PACKERS[packing](data)
            self.blobs[sha256(blob)] = blob
            kind = f"application/vnd.oci.image.layer.v1.{packing}"
            descriptors.append({"mediaType": kind, "digest": sha256(blob), "size": len(blob)})
        rootfs = {"type": "layers", "diff_ids": [sha256(data) for data in layers]}
        self.config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
        kind = "application/vnd.oci.image.config.v1+json"
        config = {"mediaType": kind, "digest": sha256(self.config), "size": len(self.config)}
        self.manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors}
        ).encode()

    @property
    def stack(self) -> tuple[StackedLayer, ...]:
        manifest = decode_manifest(self.manifest, self.media_type)
        assert isinstance(manifest, Manifest)
        return layer_stack(manifest, decode_image_config(self.config))

    def opener(
        self, layer: StackedLayer, cut_at: int | None = None, piece: int = 1000
    ) -> Callable[[int], AsyncIterator[bytes]]:
        async def give(offset: int) -> AsyncIterator[bytes]:
            self.asked.append((layer.descriptor.digest, offset))
            data = self.blobs[layer.descriptor.digest]
            end = len(data) if cut_at is None else cut_at
            for start in range(offset, end, piece):
                await trio.lowlevel.checkpoint()
                yield data[start : min(start + piece, end)]
            if cut_at is not None:
                raise ConnectionError("reset by peer")

        return give


class Engine:
    """A data root with its adapters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open()

    def open(self) -> None:
        """As a new engine does."""
        self.store = ContentStore(str(self.root / "content"))
        self.layers = OverlaySnapshotter(str(self.root))
        self.ingest = ImageIngest(self.store, self.layers, TarLimits(total_bytes=4_000_000))

    def close(self) -> None:
        self.store.close()
        self.layers.close()

    async def fetch(self, source: Source, **options: Any) -> ImageImported:
        """All layers side by side, then the image."""
        async with trio.open_nursery() as nursery:
            for layer in source.stack:
                nursery.start_soon(self.ingest.fetch_layer, layer, source.opener(layer, **options))
        return await self.ingest.finish(source.manifest, source.media_type, source.config, origin="pull")

    @property
    def partials(self) -> list[str]:
        return sorted(os.listdir(self.root / "content/ingest"))

    def assert_no_layer(self) -> None:
        for name in ("layers", "trash"):
            assert os.listdir(self.root / name) == []


@pytest.fixture
def engine(tmp_path: Path, descriptors: None) -> Iterator[Engine]:
    """A fresh data root."""
    made = Engine(tmp_path)
    yield made
    made.close()


@pytest.fixture
def layers(new_archive: Callable[[], Any]) -> list[bytes]:
    """A base, and one that removes and replaces things of it."""
    base = new_archive().add("etc/", "dir").add("etc/motd", data=b"hello").add("etc/old", data=os.urandom(30_000)).bytes()
    top = new_archive().add("etc/", "dir").add("etc/.wh.old").add("etc/motd", data=b"changed").bytes()
    return [base, top]


@pytest.mark.parametrize("packing", PACKERS)
async def test_an_image_of_several_layers_is_taken(packing: str, engine: Engine, layers: list[bytes]) -> None:
    """Blobs as they came, each layer unpacked under its chain id, whiteouts as overlayfs wants them, and an event for it all."""
    source = Source(layers, packing)
    imported = await engine.fetch(source)
    assert imported.image == sha256(source.config)
    assert imported.manifest == sha256(source.manifest)
    assert list(imported.layers) == [sha256(data) for data in layers]
    assert imported.size == 5 + 30_000 + 7
    assert imported.origin == "pull"
    assert set(engine.store.digests()) == {*source.blobs, imported.image, imported.manifest}
    low, high = (Path(engine.layers.layer_path(layer.chain_id)) for layer in source.stack)
    assert (low / "etc/motd").read_bytes() == b"hello"
    assert (high / "etc/motd").read_bytes() == b"changed"
    status = os.lstat(high / "etc/old")
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert engine.partials == []


async def test_what_is_there_is_not_fetched_again(engine: Engine, layers: list[bytes]) -> None:
    """A second image with the same base asks for its own layer only."""
    await engine.fetch(Source(layers[:1]))
    source = Source(layers)
    await engine.fetch(source)
    assert source.asked == [(source.stack[1].descriptor.digest, 0)]


async def test_a_blob_at_hand_is_unpacked_without_the_source(engine: Engine, layers: list[bytes]) -> None:
    """A layer that is needed at another place of a stack, or whose directory was lost, comes from its blob."""
    await engine.fetch(Source(layers))
    again = Source(list(reversed(layers)))
    await engine.fetch(again)
    assert again.asked == []
    assert all(engine.layers.has(layer.chain_id) for layer in again.stack)


async def test_an_unpacked_layer_with_another_blob_gets_that_blob_too(engine: Engine, layers: list[bytes]) -> None:
    """The image can be pushed and saved as it came, and the blob was looked into before it was believed."""
    await engine.fetch(Source(layers, "tar+gzip"))
    source = Source(layers, "tar+zstd")
    assert not any(engine.ingest.has_layer(layer) for layer in source.stack)
    await engine.fetch(source)
    assert set(source.blobs) <= set(engine.store.digests())
    assert len(os.listdir(engine.root / "layers")) == 2


async def test_a_cut_fetch_goes_on_where_it_was_cut(engine: Engine, layers: list[bytes]) -> None:
    """Also in the next engine: the beginning is kept, digested again, and only the rest is asked for."""
    source = Source(layers[:1])
    layer = source.stack[0]
    with pytest.raises(ConnectionError):
        await engine.ingest.fetch_layer(layer, source.opener(layer, cut_at=7000))
    engine.assert_no_layer()
    assert engine.store.digests() == []
    assert engine.partials == ["partial-" + layer.descriptor.digest[7:]]
    engine.close()
    engine.open()
    heard: list[int] = []
    await engine.ingest.fetch_layer(layer, source.opener(layer), heard.append)
    assert source.asked == [(layer.descriptor.digest, 0), (layer.descriptor.digest, 7000)]
    assert heard[0] == 8000
    assert heard[-1] == layer.descriptor.size
    assert engine.ingest.has_layer(layer)
    assert engine.partials == []


async def test_a_beginning_that_rotted_is_fetched_anew(engine: Engine, layers: list[bytes]) -> None:
    """After a power cut the file may hold anything: the digest says so, and one fetch from the start repairs it."""
    source = Source(layers[:1])
    layer = source.stack[0]
    with pytest.raises(ConnectionError):
        await engine.ingest.fetch_layer(layer, source.opener(layer, cut_at=7000))
    (partial,) = (engine.root / "content/ingest").iterdir()
    partial.write_bytes(bytes(7000))
    await engine.ingest.fetch_layer(layer, source.opener(layer))
    assert [offset for _, offset in source.asked] == [0, 7000, 0]
    assert engine.ingest.has_layer(layer)


async def test_a_blob_that_rotted_is_fetched_anew(engine: Engine, layers: list[bytes]) -> None:
    """What lies in the store is digested before it is unpacked; a damaged blob makes way for a sound one."""
    await engine.fetch(Source(layers[:1]))
    source = Source([layers[1], layers[0]])
    damaged = source.stack[1].descriptor.digest
    path = engine.root / "content/blobs/sha256" / damaged[7:]
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    await engine.fetch(source)
    assert (damaged, 0) in source.asked
    assert sha256(path.read_bytes()) == damaged


def _altered(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("change", [_altered, lambda data: data + b"\0", lambda data: gzip.compress(b"another")])
async def test_s26_wrong_bytes_leave_nothing(change: Callable[[bytes], bytes], engine: Engine, layers: list[bytes]) -> None:
    """Altered, longer or other bytes are never visible under the digest, and none of them are kept."""
    source = Source(layers[:1])
    layer = source.stack[0]
    source.blobs[layer.descriptor.digest] = change(source.blobs[layer.descriptor.digest])
    with pytest.raises((DigestMismatch, InvalidArchive, BlobCut)):
        await engine.ingest.fetch_layer(layer, source.opener(layer))
    engine.assert_no_layer()
    assert engine.store.digests() == []


async def test_a_source_that_ends_early_is_cut_and_not_corrupt(engine: Engine, layers: list[bytes]) -> None:
    """A connection that closes without an error leaves the beginning for the next try."""
    source = Source(layers[:1])
    layer = source.stack[0]
    whole = source.blobs[layer.descriptor.digest]
    source.blobs[layer.descriptor.digest] = whole[:5000]
    with pytest.raises(BlobCut, match=f"after 5000 of {len(whole)} bytes"):
        await engine.ingest.fetch_layer(layer, source.opener(layer))
    source.blobs[layer.descriptor.digest] = whole
    await engine.ingest.fetch_layer(layer, source.opener(layer))
    assert source.asked[-1][1] == 5000


async def test_a_layer_must_unpack_to_what_the_config_says(engine: Engine, layers: list[bytes]) -> None:
    """A blob with the right digest and another diff id is refused (S24): the image id covers diff ids only."""
    source = Source(layers[:1])
    other = Source(layers[1:])
    layer = source.stack[0]
    wrong = StackedLayer(layer.descriptor, other.stack[0].diff_id, other.stack[0].chain_id)
    with pytest.raises(DigestMismatch, match="the image config says"):
        await engine.ingest.fetch_layer(wrong, source.opener(layer))
    engine.assert_no_layer()
    assert engine.store.digests() == []
    assert engine.partials == []


async def test_two_images_fetch_a_shared_layer_once(engine: Engine, layers: list[bytes]) -> None:
    """Concurrent pulls wait for each other, layer by layer."""
    source = Source(layers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.fetch, source)
        nursery.start_soon(engine.fetch, source)
    assert sorted(source.asked) == sorted((layer.descriptor.digest, 0) for layer in source.stack)


async def test_a_full_disk_leaves_nothing_behind(engine: Engine, layers: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the beginning of the blob: it would keep the disk full."""

    def refuse(writer: BlobWriter, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = Source(layers[:1])
    layer = source.stack[0]
    with monkeypatch.context() as patched:
        patched.setattr(BlobWriter, "write", refuse)
        with pytest.raises(KernelError, match="No space left"):
            await engine.ingest.fetch_layer(layer, source.opener(layer))
    engine.assert_no_layer()
    assert engine.partials == []


async def test_a_cancelled_fetch_keeps_the_beginning(engine: Engine, layers: list[bytes]) -> None:
    """A client that goes away ends the fetch at once, and the next one goes on."""
    source = Source(layers[:1])
    layer = source.stack[0]
    arrived = trio.Event()

    async def stuck(offset: int) -> AsyncIterator[bytes]:
        yield source.blobs[layer.descriptor.digest][:3000]
        arrived.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.ingest.fetch_layer, layer, stuck)
        await arrived.wait()
        while not engine.partials or not (engine.root / "content/ingest" / engine.partials[0]).stat().st_size:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    engine.assert_no_layer()
    await engine.ingest.fetch_layer(layer, source.opener(layer))
    assert source.asked == [(layer.descriptor.digest, 3000)]


async def test_an_image_is_not_finished_without_its_layers(engine: Engine, layers: list[bytes]) -> None:
    """Nor with a config that is not the manifest's; no document is stored before all is there."""
    source = Source(layers)
    with pytest.raises(PortError, match="is missing"):
        await engine.ingest.finish(source.manifest, OCI_MANIFEST, source.config, origin="pull")
    with pytest.raises(DigestMismatch):
        await engine.ingest.finish(source.manifest, OCI_MANIFEST, source.config + b" ", origin="pull")
    with pytest.raises(InvalidDocument):
        await engine.ingest.finish(source.manifest, DOCKER_MANIFEST, source.config, origin="pull")
    assert engine.store.digests() == []


def test_manifest_and_config_must_fit() -> None:
    """A layer more or less, or one of a foreign type, is refused before anything is fetched."""
    source = Source([b"one", b"two"])
    manifest = decode_manifest(source.manifest, OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    with pytest.raises(InvalidDocument, match="2 layers in its manifest and 1 in its config"):
        layer_stack(manifest, decode_image_config(Source([b"one"]).config))
    foreign = source.manifest.replace(b"image.layer.v1.tar+gzip", b"image.layer.nondistributable.v1.tar")
    document = decode_manifest(foreign, OCI_MANIFEST)
    assert isinstance(document, Manifest)
    with pytest.raises(InvalidDocument, match="not supported"):
        layer_stack(document, decode_image_config(source.config))

"""The content store: what has a name is complete and right, and other tools can read it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket.adapters.images.content_store import ContentStore
from docket.domain.errors import DigestMismatch, KernelError, PortError
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import Digest, InvalidDigest, digest_of
from docket.domain.oci.manifest import OCI_MANIFEST

DATA = b"some content"
DIGEST = digest_of(DATA)


@pytest.fixture
def store(tmp_path: Path, descriptors: None) -> Iterator[ContentStore]:
    """An empty store."""
    opened = ContentStore(str(tmp_path / "content"))
    yield opened
    opened.close()


def files(store: ContentStore) -> list[str]:
    """Every file name below the store's directory."""
    return sorted(str(path.relative_to(store.path)) for path in Path(store.path).rglob("*") if path.is_file())


def test_blobs_come_back_as_they_went_in(store: ContentStore) -> None:
    """Stored once, found by digest, listed, deleted."""
    assert store.put(DATA) == store.put(DATA) == DIGEST
    assert (store.has(DIGEST), store.size(DIGEST), store.read(DIGEST), store.digests()) == (True, len(DATA), DATA, [DIGEST])
    with store.open(DIGEST) as file:
        assert file.read() == DATA
    assert (store.delete(DIGEST), store.delete(DIGEST), store.has(DIGEST)) == (True, False, False)
    with pytest.raises(KernelError):
        store.open(DIGEST)


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", DATA[:-1] + b"X", b""])
def test_s26_wrong_bytes_are_never_visible(data: bytes, store: ContentStore) -> None:
    """Truncated, longer or altered: refused, and nothing is left under any name."""
    before = files(store)
    with pytest.raises(DigestMismatch):
        store.ingest([data], DIGEST, len(DATA))
    assert files(store) == before


def test_s26_no_more_is_read_than_was_promised(store: ContentStore) -> None:
    """An endless body stops with the first chunk too many."""
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b"0123"

    with pytest.raises(DigestMismatch):
        store.ingest(endless(), DIGEST, 10)
    assert len(taken) == 3


def test_s26_a_blob_is_not_visible_before_it_is_whole(store: ContentStore) -> None:
    """Until the commit there is no name; without one there is nothing."""
    with store.writer() as writer:
        writer.write(DATA)
        assert store.digests() == []
    assert files(store) == ["index.json", "oci-layout"]


def test_s26_bytes_are_on_disk_before_the_name_is(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is file, name, directory; any other could leave an empty blob under a good name after a power cut."""
    order: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        order.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_rename(*arguments: object, **options: object) -> None:
        order.append("name")
        rename(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    store.put(DATA)
    assert order == ["file", "name", "directory"]


def test_a_source_that_fails_leaves_nothing(store: ContentStore) -> None:
    """A connection that breaks half-way costs its bytes."""

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(KernelError, match="reset"):
        store.ingest(broken())
    assert files(store) == ["index.json", "oci-layout"]


@pytest.mark.parametrize("name", ["sha256:../../../etc/passwd", "sha256:" + "A" * 64, "x", ""])
def test_s25_unvalidated_digests_open_nothing(name: str, store: ContentStore) -> None:
    """No method turns a text into a path before it is a digest."""
    digest = Digest(name)
    for method in (store.has, store.open, store.read, store.size, store.delete):
        with pytest.raises(InvalidDigest):
            method(digest)


def test_a_rotten_blob_is_told(store: ContentStore, tmp_path: Path) -> None:
    """What is read whole is compared with its name."""
    store.put(DATA)
    (tmp_path / "content/blobs/sha256" / DIGEST[7:]).write_bytes(b"rotten")
    with pytest.raises(DigestMismatch):
        store.read(DIGEST)


def test_s39_modes_hold_under_any_umask(tmp_path: Path) -> None:
    """Directories are 0710 and files 0600."""
    for umask in (0o000, 0o077):
        old = os.umask(umask)
        try:
            store = ContentStore(str(tmp_path / f"content{umask}"))
            store.put(DATA)
            store.set_reference("a", Descriptor(OCI_MANIFEST, DIGEST, 1))
            store.close()
        finally:
            os.umask(old)
        for path in [Path(store.path), *Path(store.path).rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o710 if path.is_dir() else 0o600), path


def test_names_are_an_oci_index(store: ContentStore, tmp_path: Path) -> None:
    """A name means one manifest, moves, goes; the files are those of an OCI image layout."""
    store.set_reference("b:1", Descriptor(OCI_MANIFEST, DIGEST, 7))
    store.set_reference("a:1", Descriptor(OCI_MANIFEST, digest_of(b"x"), 8))
    store.set_reference("b:1", Descriptor(OCI_MANIFEST, digest_of(b"y"), 9))
    assert {name: entry.size for name, entry in store.references().items()} == {"a:1": 8, "b:1": 9}
    index = json.loads((tmp_path / "content/index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]] == ["a:1", "b:1"]
    assert json.loads((tmp_path / "content/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert (store.remove_reference("a:1"), store.remove_reference("a:1")) == (True, False)
    assert list(store.references()) == ["b:1"]


def test_a_damaged_index_is_an_error_not_an_empty_store(store: ContentStore, tmp_path: Path) -> None:
    """Names are not silently lost by the next write."""
    (tmp_path / "content/index.json").write_bytes(b'{"schemaVersion":2,')
    with pytest.raises(PortError, match=r"index\.json"):
        store.references()
    with pytest.raises(PortError):
        store.set_reference("a", Descriptor(OCI_MANIFEST, DIGEST, 1))


def test_opening_again_keeps_blobs_and_drops_what_was_on_its_way(store: ContentStore, tmp_path: Path) -> None:
    """After a crash, half blobs are gone and whole ones are there."""
    store.put(DATA)
    store.set_reference("a", Descriptor(OCI_MANIFEST, DIGEST, 1))
    (tmp_path / "content/ingest/half").write_bytes(b"x")
    (tmp_path / "content/blobs/sha256/stranger").write_bytes(b"x")
    again = ContentStore(store.path)
    assert (again.digests(), list(again.references())) == ([DIGEST], ["a"])
    again.close()
    assert not (tmp_path / "content/ingest/half").exists()

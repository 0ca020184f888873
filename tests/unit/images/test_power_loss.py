"""The content store under power cuts and disk errors, at every step: what was promised is there, what is there is right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.simulation.power import Change, Tracer, materialise, states

from docket.adapters.images import content_store, disk
from docket.adapters.images.content_store import ContentStore
from docket.domain.errors import PortError
from docket.domain.oci.digest import Digest, digest_of

BLOBS = (b"a layer " * 50, b"a config", b"a manifest")


def _traced(monkeypatch: pytest.MonkeyPatch, root: Path, fail_at: int | None = None) -> Tracer:
    tracer = Tracer(root, fail_at)
    monkeypatch.setattr(content_store, "os", tracer)
    monkeypatch.setattr(disk, "os", tracer)
    return tracer


def _open(root: Path) -> ContentStore:
    return ContentStore(str(root / "content"))


def _check(changes: list[Change], root: Path, target: Path, promised: set[Digest]) -> None:
    """The tree opens; every blob is what its name says; what was promised is there; everything can be stored again."""
    materialise(changes, str(root), target, cut=lambda data: data[: len(data) // 2])
    store = _open(target)
    for path in (target / "content/blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, "a blob is not what its name says"
    for digest in promised:
        assert store.has(digest), "an event names a blob that is gone"
    for blob in BLOBS:
        assert store.read(store.put(blob)) == blob
    assert list((target / "content/ingest").iterdir()) == []
    store.close()


def _targets(directory: Path) -> Path:
    number = len(list(directory.iterdir())) if directory.exists() else 0
    target = directory / str(number)
    target.mkdir(parents=True)
    return target


def test_no_power_cut_loses_a_promised_blob_or_leaves_a_wrong_one(tmp_path: Path) -> None:
    """Cut after every step, with every unsynced change there or not: the store opens, and keeps what it promised (S26)."""
    root = tmp_path / "root"
    root.mkdir()
    promises: list[tuple[int, Digest]] = []
    with pytest.MonkeyPatch.context() as patch:
        tracer = _traced(patch, root)
        store = _open(root)
        opened = tracer.step
        for blob in BLOBS:
            digest = store.put(blob)
            promises.append((tracer.step, digest))
        store.close()
    tried = 0
    for step, changes in states(tracer):
        if step < opened:
            continue
        promised = {digest for at, digest in promises if at <= step}
        _check(changes, root, _targets(tmp_path / "after"), promised)
        tried += 1
    assert tried > 50


def test_a_power_cut_while_the_store_is_made_leaves_one_that_opens(tmp_path: Path) -> None:
    """The first start of all can be cut as well."""
    root = tmp_path / "root"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        tracer = _traced(patch, root)
        _open(root).close()
    for _, changes in states(tracer):
        _check(changes, root, _targets(tmp_path / "after"), set())


def test_no_disk_error_makes_a_promise_that_a_power_cut_breaks(tmp_path: Path) -> None:
    """EIO at the n-th write or fsync: the blob is refused. A second try does not trust what the failed fsync left."""
    for fail_at in range(1, 40):
        root = tmp_path / f"root{fail_at}"
        root.mkdir()
        promised: set[Digest] = set()
        with pytest.MonkeyPatch.context() as patch:
            tracer = _traced(patch, root, fail_at)
            try:
                store = _open(root)
            except PortError:
                continue
            refused = 0
            for blob in (*BLOBS, *BLOBS):
                try:
                    promised.add(store.put(blob))
                except PortError:
                    refused += 1
            store.close()
        assert promised == {digest_of(blob) for blob in BLOBS}
        _check(list(states(tracer))[-1][1], root, _targets(tmp_path / f"after{fail_at}"), promised)
        durable = [change for change in tracer.changes if change.synced is not None]
        _check(durable, root, _targets(tmp_path / f"after{fail_at}"), promised)
        if not refused:
            return
    raise AssertionError("every number of the failing call was refused")

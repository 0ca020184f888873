"""Archives of images, as ``docker load`` takes them, and what registries say: both come from strangers.

An archive is taken into a content store of its own. Mutations change its documents and mostly give them their digests again, so
that it is what they say that is hostile.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from typing import Any

from tests.fuzz.mutation import Mixer, mutate_bytes, mutate_json_text
from tests.fuzz.targets import Target
from tests.fuzz.targets.archives import _mutate as mutate_archive
from tests.tars import tar_of

from docket.adapters.images.archive_reading import ImageArchive
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.tar_reader import TarLimits
from docket.adapters.registry.challenge import parse_challenges
from docket.adapters.registry.failures import failure_of
from docket.adapters.registry.urls import parse_url
from docket.domain.errors import DigestMismatch, Rejected
from docket.domain.oci.descriptor import Platform
from docket.domain.oci.image_config import decode_image_config
from docket.domain.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Manifest, decode_manifest
from docket.domain.oci.stack import layer_stack
from docket.domain.oci.strict_json import InvalidDocument
from docket.domain.registry import RegistryError

_LIMITS = TarLimits(members=200, total_bytes=1 << 21, extension_bytes=1 << 16)
_BLOBS = "blobs/sha256/"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _described(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{_digest(data)}", "size": len(data), **more}


def _archives() -> list[bytes]:
    """One image in each of the formats, and in both."""
    layer = tar_of({"file": b"hello"})
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": rootfs}).encode()
    layers = [_described("application/vnd.oci.image.layer.v1.tar", layer)]
    described = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": _described(OCI_CONFIG, config), "layers": layers}
    manifest = json.dumps(described).encode()
    names = {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/library/app:1"}
    platform = {"architecture": "amd64", "os": "linux"}
    listed = [_described(OCI_MANIFEST, manifest, annotations=names, platform=platform)]
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()
    entries = json.dumps([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l/layer.tar"]}]).encode()
    oci = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    blobs = {_BLOBS + _digest(each): each for each in (layer, config, manifest)}
    both = json.dumps([{"Config": _BLOBS + _digest(config), "Layers": [_BLOBS + _digest(layer)], "RepoTags": None}]).encode()
    return [
        tar_of({"l/layer.tar": layer, "c.json": config, "manifest.json": entries, "repositories": b"{}"}),
        tar_of({**oci, **blobs}),
        tar_of({**blobs, **oci, "manifest.json": both}),
    ]


def _load(data: bytes) -> None:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    directory = tempfile.mkdtemp(prefix="docket-fuzz-", dir=memory)
    store = ContentStore(directory)
    try:
        archive = ImageArchive(store, _LIMITS, Platform("amd64", "linux"))
        archive.take(iter([data]))
        for image in archive.images():
            document = decode_manifest(image.manifest, image.media_type)
            assert isinstance(document, Manifest)
            layer_stack(document, decode_image_config(image.config))
    except (InvalidArchive, InvalidDocument, DigestMismatch, Rejected):
        return
    finally:
        store.close()
        shutil.rmtree(directory)


def _mutate(mixer: Mixer, data: bytes) -> bytes:
    if mixer.dice.random() < 0.3:
        return mutate_archive(mixer, data)
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found = {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in archive if member.isfile()}
    except (tarfile.TarError, ValueError, OSError, EOFError):
        return mutate_archive(mixer, data)
    documents = [name for name, content in found.items() if content[:1] in (b"{", b"[")]
    if not documents:
        return mutate_archive(mixer, data)
    name = mixer.dice.choice(documents)
    old, new = found[name], mutate_json_text(mixer, found[name])
    found[name] = new
    if name.startswith(_BLOBS) and mixer.dice.random() < 0.9:
        del found[name]
        before, after = _digest(old).encode(), _digest(new).encode()
        found = {each: content.replace(before, after) for each, content in found.items()}
        found[_BLOBS + after.decode()] = new
    return tar_of({each: content for each, content in found.items() if "\0" not in each})


# Registries

_ANSWERS = (
    b'Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull"', b'Basic realm="a\\"b", Bearer realm=x',
    b"Negotiate",
    b"https://r.example:5000/v2/a/blobs/uploads/?_state=x", b"//other.example/x", b"../y?z", b"http://[::1]:80/", b"http://127.1/",
    b'{"errors":[{"code":"DENIED","message":"no","detail":{}}]}', b'{"details":"incorrect username or password"}',
)  # fmt: skip


def _answer(data: bytes) -> None:
    text = data.decode("latin-1")
    assert len(parse_challenges(text)) <= len(text)
    base = parse_url("https://r.example:5000/v2/")
    try:
        url = parse_url(text, base)
        assert parse_url(str(url)) == url, str(url)
        assert not {"@", "\\", " ", "\n"} & set(url.authority), url.authority
    except RegistryError as error:
        assert str(error).isprintable()
    for status in (200, 401, 404, 500, 999):
        for line in str(failure_of(status, data)).splitlines():
            assert line.isprintable(), line


TARGETS = {
    "loads": Target(
        "loads",
        ("adapters/images/archive_reading.py", "domain/oci/stack.py", "domain/oci/platform.py"),
        _archives,
        _load,
        _mutate,
    ),
    "registry": Target(
        "registry",
        ("adapters/registry/challenge.py", "adapters/registry/urls.py", "adapters/registry/failures.py"),
        lambda: list(_ANSWERS),
        _answer,
        mutate_bytes,
    ),
}

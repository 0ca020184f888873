"""What ``docker save`` gives: one tar archive that is a docker archive and an OCI layout at once, as Docker 25 and later write it.

    blobs/sha256/<hex>   manifests, configs and layers, as they lie in the content store: nothing is packed anew
    index.json           the manifests, each with its names, for skopeo oci-archive:, umoci, containerd
    manifest.json        configs, layers and tags, for docker load, podman load, skopeo docker-archive:
    oci-layout           the layout's version
    repositories         tags, for what is older than manifest.json

Members are sorted and carry no times and owners: the same images give the same bytes. Each blob is digested again while it goes
out, and the archive breaks off before a blob that rotted is whole.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence

import msgspec

from docket.adapters.images.archive_reading import CONTAINERD_NAME
from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.errors import disk_errors
from docket.domain.errors import DigestMismatch, PortError
from docket.domain.image_ports import SavedImage
from docket.domain.oci.descriptor import REF_NAME_ANNOTATION, Descriptor, Platform
from docket.domain.oci.digest import Digest, parse_digest
from docket.domain.oci.image_config import ImageConfig, decode_image_config
from docket.domain.oci.manifest import OCI_INDEX, Index, Manifest, decode_manifest
from docket.domain.oci.reference import parse_reference
from docket.domain.oci.strict_json import InvalidDocument

_PIECE = 1 << 20
_BLOCK = 512
_RECORD = 20 * _BLOCK
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class _Image(msgspec.Struct, frozen=True):
    saved: SavedImage
    descriptor: Descriptor
    document: Manifest
    config: ImageConfig


def write_archive(store: ContentStore, images: Sequence[SavedImage]) -> Iterator[bytes]:
    """Yields the archive. Blocking; nothing of the images may be deleted meanwhile. Raises `PortError`."""
    described = [_described(store, image) for image in images]
    documents = {
        "index.json": _index(described),
        "manifest.json": msgspec.json.encode([_entry(image) for image in described]),
        "oci-layout": _LAYOUT,
        "repositories": msgspec.json.encode(_repositories(described), order="sorted"),
    }
    written = 0
    for name in ("blobs/", "blobs/sha256/"):
        yield _header(name, 0)
        written += _BLOCK
    for digest, size in sorted(_blobs(described).items()):
        yield _header(f"blobs/sha256/{digest[7:]}", size)
        yield from _blob(store, digest, size)
        written += _BLOCK + size + -size % _BLOCK
    for name, data in documents.items():
        yield _header(name, len(data)) + data + bytes(-len(data) % _BLOCK)
        written += _BLOCK + len(data) + -len(data) % _BLOCK
    yield bytes(2 * _BLOCK + -(written + 2 * _BLOCK) % _RECORD)


def _described(store: ContentStore, image: SavedImage) -> _Image:
    digest = parse_digest(image.stored.manifest)
    data = store.read(digest)
    try:
        document = decode_manifest(data, image.stored.manifest_type)
        assert isinstance(document, Manifest)
        config = decode_image_config(store.read(document.config.digest))
    except InvalidDocument as error:
        raise PortError(f"image {image.stored.image} cannot be saved: {error}") from error
    return _Image(image, Descriptor(image.stored.manifest_type, digest, len(data)), document, config)


def _blobs(images: Sequence[_Image]) -> dict[Digest, int]:
    """Each blob once, whatever shares it."""
    found: dict[Digest, int] = {}
    for image in images:
        for each in (image.descriptor, image.document.config, *image.document.layers):
            found[each.digest] = each.size
    return found


def _blob(store: ContentStore, digest: Digest, size: int) -> Iterator[bytes]:
    hashed, left = hashlib.sha256(), size
    with store.open(digest) as file, disk_errors("read a blob"):
        while left and (piece := file.read(min(_PIECE, left))):
            hashed.update(piece)
            left -= len(piece)
            if not left and hashed.hexdigest() != digest[7:]:
                break
            yield piece
    if left or hashed.hexdigest() != digest[7:]:
        raise DigestMismatch(f"blob {digest} is damaged: remove the image and get it again")
    yield bytes(-size % _BLOCK)


def _index(images: Sequence[_Image]) -> bytes:
    entries = []
    for image in images:
        config = image.config
        platform = Platform(config.architecture, config.os, config.os_version, config.os_features, config.variant)
        entry = msgspec.structs.replace(image.descriptor, platform=platform)
        names = [parse_reference(reference) for reference in image.saved.references]
        entries += [
            msgspec.structs.replace(entry, annotations={CONTAINERD_NAME: str(name), REF_NAME_ANNOTATION: name.tag})
            for name in names
        ] or [entry]
    return msgspec.json.encode(Index(2, tuple(entries), OCI_INDEX), order="sorted")


def _entry(image: _Image) -> dict[str, object]:
    return {
        "Config": f"blobs/sha256/{image.document.config.digest[7:]}",
        "RepoTags": [parse_reference(reference).familiar for reference in image.saved.references] or None,
        "Layers": [f"blobs/sha256/{layer.digest[7:]}" for layer in image.document.layers],
    }


def _repositories(images: Sequence[_Image]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for image in images:
        for reference in map(parse_reference, image.saved.references):
            found.setdefault(reference.familiar_name, {})[reference.tag] = image.document.config.digest[7:]
    return found


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name.rstrip("/"))
    member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    member.mode = 0o755 if name.endswith("/") else 0o644
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")

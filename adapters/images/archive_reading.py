"""What ``docker load`` is given: an archive of images, read once from a stream, in both formats that there are.

    docker archive   manifest.json names configs, layers and tags (docker save, skopeo docker-archive, podman save)
    OCI archive      oci-layout, index.json and blobs/sha256 (skopeo oci-archive, umoci, buildx); Docker 25 and docket write both

The archive's paths never reach a file system: documents are kept in memory, everything else goes into the content store under
its digest, and what a path or a link in the archive means is looked up in a table (S19). A name that is a digest is a promise
that the bytes must keep (S26). Where both formats are there, ``manifest.json`` says which images there are and what they are
called, and the index only lends its manifests for them, so that there are no two readings (S24).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import msgspec

from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.decompress import MAGIC_LENGTH, Compression, compression_of, decompressed
from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.importer import peek
from docket.adapters.images.paths import member_path, show
from docket.adapters.images.tar_reader import DIRECTORY, HARD_LINK, REGULAR, SYMLINK, ByteStream, Member, TarLimits, TarReader
from docket.domain.oci import platform as platforms
from docket.domain.oci.descriptor import Descriptor, Platform
from docket.domain.oci.digest import Digest, InvalidDigest, digest_of, parse_digest
from docket.domain.oci.layer import TAR, TAR_GZIP, TAR_ZSTD
from docket.domain.oci.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    decode_manifest,
)
from docket.domain.oci.reference import InvalidReference, parse_reference
from docket.domain.oci.strict_json import MAX_DOCUMENT_BYTES, decode_strict

CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation under which containerd, and Docker since 25, keep a full reference in an index."""

_BLOBS = "blobs/sha256/"
_MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024
_MAX_MEMBERS = 100_000
_MAX_LINKS = 8
_MAX_INDEX_DEPTH = 3
_MAX_IMAGES = 1000
_DOCUMENTS = frozenset({"oci-layout", "repositories", "VERSION"})
_LAYER_TYPES = {Compression.GZIP: TAR_GZIP, Compression.ZSTD: TAR_ZSTD}
_UNKNOWN = "unknown"
"""The platform of what an index holds besides images: attestations."""


class ArchivedImage(msgspec.Struct, frozen=True):
    """An image of an archive whose blobs are all in the content store. ``references`` are normalised."""

    manifest: bytes
    media_type: str
    config: bytes
    references: tuple[str, ...]


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    layers: tuple[str, ...] = ()
    repo_tags: tuple[str, ...] = ()


class _Entries(msgspec.Struct, frozen=True):
    images: tuple[_Entry, ...]


class ImageArchive:
    """One archive. `take` it from its stream, then `images` are known."""

    def __init__(self, store: ContentStore, limits: TarLimits, host: Platform) -> None:
        self._store = store
        self._limits = msgspec.structs.replace(limits, members=min(limits.members, _MAX_MEMBERS))
        self._host = host
        self._documents: dict[str, bytes] = {}
        self._documents_bytes = 0
        self._blobs: dict[str, Descriptor] = {}
        self._links: dict[str, str] = {}

    # From the stream.

    def take(self, chunks: Iterator[bytes]) -> None:
        """Reads the whole archive, packed or not. Raises `InvalidArchive`, `DigestMismatch`, `KernelError`."""
        head, chunks = peek(chunks)
        stream = ByteStream(decompressed(chunks, compression_of(head)), self._limits.total_bytes)
        reader = TarReader(stream, self._limits)
        for member in reader:
            self._take(member, reader)
        stream.drain()

    def _take(self, member: Member, reader: TarReader) -> None:
        path = member_path(member.name).decode("utf-8", "surrogateescape")
        if member.type == DIRECTORY:
            return
        if member.type in (SYMLINK, HARD_LINK):
            base = posixpath.dirname(path) if member.type == SYMLINK else ""
            self._links[path] = posixpath.normpath(posixpath.join(base, member.linkname.decode("utf-8", "surrogateescape")))
        elif member.type != REGULAR:
            raise InvalidArchive(f"member {show(member.name)}: an archive of images has no devices")
        elif path.startswith(_BLOBS):
            self._take_blob(path, member, reader)
        elif path in _DOCUMENTS or path.endswith(".json"):
            self._take_document(path, member, reader)
        else:
            self._remember(path, self._store.ingest(reader.data_pieces(), size=member.size))

    def _take_blob(self, path: str, member: Member, reader: TarReader) -> None:
        try:
            digest = parse_digest("sha256:" + path.removeprefix(_BLOBS))
        except InvalidDigest as error:
            raise InvalidArchive(f"member {show(member.name)}: {error}") from error
        if not self._store.has(digest):
            self._store.ingest(reader.data_pieces(), digest, member.size)
        self._remember(path, Descriptor("", digest, member.size))

    def _take_document(self, path: str, member: Member, reader: TarReader) -> None:
        self._documents_bytes += member.size
        if member.size > MAX_DOCUMENT_BYTES or self._documents_bytes > _MAX_DOCUMENTS_BYTES:
            raise InvalidArchive(f"member {show(member.name)}: {member.size} bytes are too many for a document")
        data = reader.data()
        if self._documents.setdefault(path, data) != data:
            raise InvalidArchive(f"member {show(member.name)} comes twice, and differs")

    def _remember(self, path: str, blob: Descriptor) -> None:
        if self._blobs.setdefault(path, blob) != blob:
            raise InvalidArchive(f"member {show(path.encode('utf-8', 'surrogateescape'))} comes twice, and differs")

    # What it says.

    def images(self) -> list[ArchivedImage]:
        """The archive's images. Raises `InvalidArchive`, `InvalidDocument`, `DigestMismatch`."""
        named = list(self._indexed())
        if "manifest.json" not in self._documents:
            if "index.json" not in self._documents:
                raise InvalidArchive("it has neither manifest.json nor index.json, so it is no archive of images")
            if not named:
                raise InvalidArchive(f"its index has no image for {platforms.shown(self._host)}")
            return list(_merged(named))
        by_config = {digest_of(image.config): image for image in named}
        text = b'{"images":' + self._documents["manifest.json"] + b"}"
        entries = decode_strict(text, _Entries, "manifest.json").images
        if not 0 < len(entries) <= _MAX_IMAGES:
            raise InvalidArchive(f"its manifest.json has {len(entries)} images, 1 to {_MAX_IMAGES} are read")
        return [self._described(entry, by_config) for entry in entries]

    def _described(self, entry: _Entry, by_config: dict[Digest, ArchivedImage]) -> ArchivedImage:
        """An entry of ``manifest.json``, with the index's manifest if that has one for the same config."""
        config = self._small(entry.config)
        references = tuple(str(parse_reference(tag)) for tag in entry.repo_tags)
        known = by_config.get(digest_of(config))
        if known is not None:
            return msgspec.structs.replace(known, references=references)
        layers = tuple(self._layer(path) for path in entry.layers)
        manifest = Manifest(2, Descriptor(OCI_CONFIG, digest_of(config), len(config)), layers, OCI_MANIFEST)
        return ArchivedImage(msgspec.json.encode(manifest, order="sorted"), OCI_MANIFEST, config, references)

    def _layer(self, path: str) -> Descriptor:
        blob = self._blobs.get(self._resolved(path))
        if blob is None:
            raise InvalidArchive(f"layer {path[:200]!r} is not in it")
        with self._store.open(blob.digest) as file:
            kind = compression_of(file.read(MAGIC_LENGTH))
        return Descriptor(_LAYER_TYPES.get(kind, TAR), blob.digest, blob.size)

    def _small(self, path: str) -> bytes:
        where = self._resolved(path)
        if where in self._documents:
            return self._documents[where]
        if where not in self._blobs:
            raise InvalidArchive(f"config {path[:200]!r} is not in it")
        return self._store.read(self._blobs[where].digest)

    def _resolved(self, path: str) -> str:
        for _ in range(_MAX_LINKS):
            if path not in self._links:
                return path
            path = self._links[path]
        raise InvalidArchive(f"{path[:200]!r}: too many links")

    def _indexed(self) -> Iterator[ArchivedImage]:
        """The images of ``index.json`` that this machine takes and that are whole."""
        if "index.json" not in self._documents:
            return
        index = decode_manifest(self._documents["index.json"], OCI_INDEX)
        assert isinstance(index, Index)
        for entry in index.manifests:
            image = self._image(entry, _MAX_INDEX_DEPTH)
            if image is not None:
                yield msgspec.structs.replace(image, references=_references(entry))

    def _image(self, entry: Descriptor, depth: int) -> ArchivedImage | None:
        if entry.platform is not None and entry.platform.os == _UNKNOWN:
            return None
        if entry.media_type not in INDEX_TYPES | MANIFEST_TYPES or f"{_BLOBS}{entry.digest[7:]}" not in self._blobs:
            return None
        data = self._store.read(entry.digest)
        document = decode_manifest(data, entry.media_type)
        if isinstance(document, Index):
            chosen = platforms.choose(document.manifests, self._host)
            return self._image(chosen, depth - 1) if chosen is not None and depth else None
        if not all(self._store.has(each.digest) for each in (document.config, *document.layers)):
            return None
        return ArchivedImage(data, entry.media_type, self._store.read(document.config.digest), ())


def _references(entry: Descriptor) -> tuple[str, ...]:
    """What an index calls an image: a full reference. A bare tag names no repository, and so names nothing."""
    name = entry.annotations.get(CONTAINERD_NAME) or entry.reference_name
    if ":" not in name and "/" not in name:
        return ()
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return ()  # an annotation is anybody's text: skopeo puts a whole path there
    return () if reference.digest else (str(reference),)


def _merged(images: list[ArchivedImage]) -> Iterator[ArchivedImage]:
    """An image with several names stands in an index several times."""
    merged: dict[bytes, ArchivedImage] = {}
    for image in images:
        known = merged.get(image.manifest)
        names = (*(known.references if known else ()), *image.references)
        merged[image.manifest] = msgspec.structs.replace(image, references=tuple(dict.fromkeys(names)))
    yield from merged.values()

"""The content store: blobs by digest in an OCI image layout, which skopeo and umoci read as ``oci:DIRECTORY:NAME``.

    oci-layout              the layout's version
    index.json              named manifests; replaced as a whole
    blobs/sha256/<hex>      verified, complete, never changed
    ingest/<random>         blobs on their way; removed at the next start
    ingest/partial-<hex>    the beginning of the blob of that digest: the next try goes on from its end

A blob is written under a name of its own, digested while it is written, compared with what was promised, made durable, and only
then renamed to its digest (S26): a name under ``blobs/`` is never wrong and never half. What an interrupted try left of a blob
is digested again with all the rest, so it needs no trust. Methods may be called from several threads. Directories are 0710 and
files 0600 whatever the umask (S39). Disk errors leave as `KernelError`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

import msgspec

from docket.adapters.images import disk
from docket.adapters.images.errors import disk_errors
from docket.domain.errors import DigestMismatch, PortError
from docket.domain.oci.descriptor import REF_NAME_ANNOTATION, Descriptor
from docket.domain.oci.digest import Digest, InvalidDigest, digest_of, hex_of, parse_digest
from docket.domain.oci.manifest import OCI_INDEX, Index
from docket.domain.oci.strict_json import MAX_DOCUMENT_BYTES, InvalidDocument, decode_strict

MAX_BLOB_BYTES = 64 * 1024**3
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARTIAL = "partial-"
_PIECE = 512 * 1024


class BlobWriter:
    """A blob on its way in. Leaving the context without `commit` removes it, unless it is ``partial``: then a later try goes on."""

    def __init__(self, store: ContentStore, limit: int, partial: Digest | None = None) -> None:
        self._store = store
        self._limit = limit
        self._hash = hashlib.sha256()
        self._keeps = partial is not None
        if partial is None:
            self._name = secrets.token_hex(16)
            self._descriptor = disk.new_file(store.ingest_directory, self._name)
        else:
            self._name = _PARTIAL + hex_of(partial)
            self._descriptor = disk.open_or_make_file(store.ingest_directory, self._name)
        self._committed = False
        self.size = 0
        self.kept = os.fstat(self._descriptor).st_size
        """Bytes that an earlier try left; `again` gives them, before anything is written."""
        if self.kept > limit:
            os.ftruncate(self._descriptor, 0)
            self.kept = 0

    def again(self) -> Iterator[bytes]:
        """Yields what an earlier try left, and digests it."""
        while self.size < self.kept:
            data = os.pread(self._descriptor, min(_PIECE, self.kept - self.size), self.size)
            if not data:
                raise DigestMismatch("blob has become shorter while it was read")
            self._hash.update(data)
            self.size += len(data)
            yield data
        os.lseek(self._descriptor, self.size, os.SEEK_SET)

    def forget(self) -> None:
        """Nothing of this blob is to be kept for a later try."""
        self._keeps = False

    def write(self, data: bytes) -> None:
        """Appends; raises `DigestMismatch` for more bytes than were promised, before they are written."""
        if self.size + len(data) > self._limit:
            raise DigestMismatch(f"blob is longer than {self._limit} bytes")
        disk.write_all(self._descriptor, data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return Digest("sha256:" + self._hash.hexdigest())

    def commit(self, digest: Digest | None = None, size: int | None = None) -> Digest:
        """Makes the blob durable and visible; raises `DigestMismatch` if it is not what was promised."""
        found = self.digest
        if size is not None and self.size != size:
            raise DigestMismatch(f"blob has {self.size} bytes instead of {size}")
        if digest is not None and digest != found:
            raise DigestMismatch(f"blob has the digest {found} instead of {digest}")
        os.fsync(self._descriptor)
        directory = self._store.blob_directory
        os.rename(self._name, hex_of(found), src_dir_fd=self._store.ingest_directory, dst_dir_fd=directory)
        self._committed = True
        try:
            os.fsync(directory)
        except OSError:
            # The name may be gone after a power cut, and a second fsync would not tell: the next one begins from the start.
            os.unlink(hex_of(found), dir_fd=directory)
            raise
        return found

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
        if not self._committed and not self._keeps:
            with suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._store.ingest_directory)


class ContentStore:
    """Opens, or makes, the layout in the directory ``path``, whose parent must exist."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        with disk_errors("open the content store"):
            self._root = disk.make_directory(path)
            blobs = disk.make_directory("blobs", directory=self._root)
            try:
                self.blob_directory = disk.make_directory("sha256", directory=blobs)
            finally:
                os.close(blobs)
            self.ingest_directory = disk.make_directory("ingest", directory=self._root)
            self._begin()

    def _begin(self) -> None:
        for name in os.listdir(self.ingest_directory):
            if not name.startswith(_PARTIAL):
                os.unlink(name, dir_fd=self.ingest_directory)
        names = set(os.listdir(self._root))
        if "oci-layout" not in names:
            disk.replace_file(self._root, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        if "index.json" not in names:
            self._write_index(())

    def close(self) -> None:
        """Closes the directories; the store must not be used afterwards."""
        for descriptor in (self._root, self.blob_directory, self.ingest_directory):
            os.close(descriptor)

    # Blobs.

    def writer(self, size: int | None = None) -> BlobWriter:
        """Returns a context manager that takes a blob; no more than ``size`` bytes if that is known."""
        with disk_errors("begin a blob"):
            return BlobWriter(self, MAX_BLOB_BYTES if size is None else min(size, MAX_BLOB_BYTES))

    def partial(self, digest: Digest, size: int) -> BlobWriter:
        """Returns a writer that goes on where an earlier try ended; one task at a time may have it for one digest."""
        with disk_errors("begin a blob"):
            return BlobWriter(self, min(size, MAX_BLOB_BYTES), digest)

    def drop_partials(self) -> int:
        """Removes what interrupted tries left; returns how many bytes that were. No blob may be on its way."""
        freed = 0
        with disk_errors("remove interrupted blobs"):
            for name in os.listdir(self.ingest_directory):
                if name.startswith(_PARTIAL):
                    freed += os.stat(name, dir_fd=self.ingest_directory, follow_symlinks=False).st_size
                    os.unlink(name, dir_fd=self.ingest_directory)
        return freed

    def ingest(self, chunks: Iterable[bytes], digest: Digest | None = None, size: int | None = None) -> Descriptor:
        """Stores a blob; returns its digest and size in a descriptor without a media type.

        Raises `DigestMismatch` as soon as the bytes cannot be the promised ones any more.
        """
        with disk_errors("store a blob"), self.writer(size) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return Descriptor("", writer.commit(digest, size), writer.size)

    def put(self, data: bytes) -> Digest:
        """Stores a small blob and returns its digest; one that is there already is not written again."""
        digest = digest_of(data)
        if not self.has(digest):
            return self.ingest([data], digest, len(data)).digest
        with disk_errors("store a blob"):
            os.fsync(self.blob_directory)  # another thread may have only just given it its name
        return digest

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        with disk_errors("look for a blob"):
            try:
                os.stat(hex_of(digest), dir_fd=self.blob_directory, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def size(self, digest: Digest) -> int:
        """The blob's length in bytes; raises `PortError` if it is missing."""
        with disk_errors("look at a blob"):
            return os.stat(hex_of(digest), dir_fd=self.blob_directory, follow_symlinks=False).st_size

    def open(self, digest: Digest) -> BinaryIO:
        """Opens the blob for reading; raises `PortError` if it is missing. Whoever reads it checks it against the digest."""
        with disk_errors("open a blob"):
            return os.fdopen(os.open(hex_of(digest), _READ, dir_fd=self.blob_directory), "rb", buffering=0)

    def read(self, digest: Digest, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
        """Returns a whole small blob, verified; raises `DigestMismatch` if it rotted or is longer than ``limit``."""
        with disk_errors("read a blob"), os.fdopen(os.open(hex_of(digest), _READ, dir_fd=self.blob_directory), "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit or digest_of(data) != digest:
            raise DigestMismatch(f"blob {digest} is damaged or longer than {limit} bytes")
        return data

    def delete(self, digest: Digest) -> bool:
        """Removes the blob; False if it was not there."""
        with disk_errors("delete a blob"):
            try:
                os.unlink(hex_of(digest), dir_fd=self.blob_directory)
            except FileNotFoundError:
                return False
            return True

    def digests(self) -> list[Digest]:
        """Every blob's digest, sorted. Files that have no digest as their name are somebody else's and left alone."""
        with disk_errors("list blobs"):
            names = os.listdir(self.blob_directory)
        found: list[Digest] = []
        for name in sorted(names):
            with suppress(InvalidDigest):
                found.append(parse_digest(f"sha256:{name}"))
        return found

    # Names.

    def references(self) -> dict[str, Descriptor]:
        """The manifests that ``index.json`` names; raises `PortError` if it cannot be read."""
        return {entry.reference_name: entry for entry in self._read_index() if entry.reference_name}

    def set_reference(self, name: str, manifest: Descriptor) -> None:
        """Lets ``name`` mean the manifest from now on, for skopeo and its like; docket itself asks the log."""
        with self._lock:
            kept = [entry for entry in self._read_index() if entry.reference_name != name]
            named = msgspec.structs.replace(manifest, annotations={**manifest.annotations, REF_NAME_ANNOTATION: name})
            self._write_index((*kept, named))

    def set_references(self, names: dict[str, Descriptor]) -> None:
        """Lets ``index.json`` have exactly these names."""
        with self._lock:
            self._write_index(
                tuple(
                    msgspec.structs.replace(manifest, annotations={**manifest.annotations, REF_NAME_ANNOTATION: name})
                    for name, manifest in names.items()
                )
            )

    def remove_reference(self, name: str) -> bool:
        """Removes a name; False if there was none."""
        with self._lock:
            entries = self._read_index()
            kept = tuple(entry for entry in entries if entry.reference_name != name)
            if len(kept) != len(entries):
                self._write_index(kept)
            return len(kept) != len(entries)

    def _read_index(self) -> tuple[Descriptor, ...]:
        with disk_errors("read index.json"), os.fdopen(os.open("index.json", _READ, dir_fd=self._root), "rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
        try:
            return decode_strict(data, Index, f"{self.path}/index.json").manifests
        except InvalidDocument as error:
            raise PortError(str(error)) from error

    def _write_index(self, manifests: tuple[Descriptor, ...]) -> None:
        ordered = tuple(sorted(manifests, key=lambda entry: entry.reference_name))
        with disk_errors("write index.json"):
            disk.replace_file(self._root, "index.json", msgspec.json.encode(Index(2, ordered, OCI_INDEX), order="sorted"))

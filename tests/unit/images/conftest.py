"""Archives for the tests: a builder that writes any header, however wrong, and a look at what lies outside a directory."""

from __future__ import annotations

import gc
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader
from docket.adapters.images.unpack import Unpacked, unpack_layer

TYPES = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "link": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


class Archive:
    """A tar archive that is put together member by member."""

    def __init__(self) -> None:
        self.data = b""

    def add(
        self,
        name: str | bytes,
        kind: str | bytes = "file",
        data: bytes = b"",
        link: str = "",
        xattrs: dict[str, bytes] | None = None,
        pax: dict[str, str] | None = None,
        **header: Any,
    ) -> Archive:
        """Adds a member; ``header`` sets fields of its header (mode, uid, gid, mtime, size, devmajor, devminor)."""
        member = tarfile.TarInfo(os.fsdecode(name))
        member.type = TYPES[kind] if isinstance(kind, str) else kind
        member.linkname = link
        member.mode = 0o755 if kind == "dir" else 0o644
        member.size = len(data)
        for field, value in header.items():
            setattr(member, field, value)
        records = {**(pax or {})}
        for key, value in (xattrs or {}).items():
            records[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
        member.pax_headers = records
        if records:
            head = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        else:
            head = member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        self.data += head + data + bytes(-len(data) % 512)
        return self

    def bytes(self) -> bytes:
        """The finished archive."""
        return self.data + bytes(1024)


def reader_of(data: bytes, limits: TarLimits | None = None, piece: int = 7000) -> TarReader:
    """A reader whose input comes in awkward pieces."""
    chunks = (data[start : start + piece] for start in range(0, len(data), piece))
    bounds = limits or TarLimits()
    return TarReader(ByteStream(chunks, bounds.total_bytes), bounds)


class Unpacker:
    """Unpacks archives into a directory that has canaries for neighbours."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "layer"
        self.root.mkdir()
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "canary").write_bytes(b"alive")
        os.utime(self.outside / "canary", ns=(1, 1))
        (self.outside / "directory").mkdir()
        os.utime(self.outside / "directory", ns=(2, 2))
        self.before = self.look()

    def unpack(self, archive: Archive | bytes, limits: TarLimits | None = None) -> Unpacked:
        """Unpacks into the root."""
        data = archive if isinstance(archive, bytes) else archive.bytes()
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return unpack_layer(reader_of(data, limits), descriptor)
        finally:
            os.close(descriptor)

    def refused(self, archive: Archive | bytes, limits: TarLimits | None = None) -> str:
        """Unpacks what must be refused, and returns why it was."""
        with pytest.raises(InvalidArchive) as caught:
            self.unpack(archive, limits)
        return str(caught.value)

    def look(self) -> list[tuple[Any, ...]]:
        """Everything outside the root: names, modes, owners, times, attributes, contents."""
        found: list[tuple[Any, ...]] = [tuple(sorted(path.name for path in self.base.iterdir()))]
        for path in sorted(self.outside.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append(
                (str(path), status.st_mode, status.st_uid, status.st_mtime_ns, status.st_nlink, os.listxattr(path), content)
            )
        return found

    def assert_nothing_outside(self) -> None:
        """The neighbours are exactly as they were."""
        assert self.look() == self.before


@pytest.fixture
def archive() -> Archive:
    """An empty archive."""
    return Archive()


@pytest.fixture
def new_archive() -> Callable[[], Archive]:
    """Makes further archives."""
    return Archive


@pytest.fixture
def read() -> Callable[..., TarReader]:
    """Makes a reader of bytes."""
    return reader_of


@pytest.fixture
def unpacker(tmp_path: Path) -> Unpacker:
    """A layer's directory among canaries."""
    return Unpacker(tmp_path)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """The test leaves no descriptor open; what others left for the collector to close does not count."""
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before

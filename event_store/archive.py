"""Archives: sealed ranges of the log, one compressed file each, in a directory beside the log's database.

A file is JSON, one array a line, in gzip; `zcat` shows it:

    {"docket_archive":1,"first":1,"last":16384,"previous":"0000…"}              the hash before the first event
    [position,stream,version,type,schema,data,time,job,causation,actor,hash]    as in an exported log

Rules:
- A file is complete and durable before anything names it: written under another name, synced, renamed, the directory synced.
- Only a row of `ranges` makes it count. What no row names is rubbish of a compaction that was cut off, or was dropped.
- Nothing in a file is trusted: it is read within limits, and whoever asks for a proof gets its digest and the chain checked.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from docket.domain.errors import CorruptEvent, StoreFailed
from docket.domain.log import Seal
from docket.event_store.chain import Row

_MAX_LINE_BYTES = 16 << 20
_CHUNK = 500
_LEVEL = 6

_Line = tuple[int, str, int, str, int, str, int, str, int | None, str, str]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line; ``previous`` in hexadecimal digits."""

    docket_archive: int
    first: int
    last: int
    previous: str


def directory(log: Path) -> Path:
    """Where the archives of a log lie."""
    return log.with_name("log.archive")


def name_of(first: int, last: int) -> str:
    """The file of a range: of numbers only, so that no row can name another place."""
    return f"{first:016d}-{last:016d}.jsonl.gz"


def write(log: Path, first: int, last: int, previous: bytes, chunks: Iterable[list[Row]]) -> Seal:
    """Write the file of a range, durably. Raises OSError, and what ``chunks`` raises; then nothing is left that counts."""
    place = directory(log)
    _make(place)
    name = name_of(first, last)
    part = place / f"{name}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(part, flags, 0o600)
    try:
        target = _Target(descriptor)
        times, digest = _compress(target, Header(1, first, last, previous.hex()), chunks)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(part, place / name)
    _sync(place)
    return Seal(first, last, digest, min(times), max(times), target.size, target.digest)


def _make(place: Path) -> None:
    if not place.is_dir():
        os.mkdir(place, 0o700)
        _sync(place.parent)


def _sync(place: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a directory cannot be opened
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Target(io.RawIOBase):
    """The file that is written, with its size and digest."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._hash = sha256()
        self.size = 0

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._hash.update(view)
        self.size += len(view)
        written = 0
        while written < len(view):
            written += os.write(self._descriptor, view[written:])
        return written


def _compress(target: _Target, header: Header, chunks: Iterable[list[Row]]) -> tuple[list[int], bytes]:
    """Give the first and last times of each chunk, and the hash of the last event."""
    encode = msgspec.json.Encoder().encode
    times: list[int] = []
    digest = b""
    # Without a time and a name in gzip's header the same range is the same bytes.
    with gzip.GzipFile("", "wb", _LEVEL, target, mtime=0) as file:
        file.write(encode(header) + b"\n")
        for chunk in chunks:
            file.write(b"".join(encode((*row[:-1], row[-1].hex())) + b"\n" for row in chunk))
            times += (min(row[6] for row in chunk), max(row[6] for row in chunk))
            digest = chunk[-1][-1]
    return times, digest


def read(log: Path, seal: Seal, wanted: Callable[[bytes], bool] | None = None) -> Iterator[list[Row]]:
    """Yield the events of a range, in chunks; lines that are not ``wanted`` are left out unread.

    Raises StoreFailed when the file cannot be read, CorruptEvent when it is not what was written.
    """
    decode = msgspec.json.Decoder(_Line).decode
    position = seal.first
    chunk: list[Row] = []
    try:
        for line in _lines(log, seal):
            if wanted is None or wanted(line):
                *columns, digest = decode(line)
                chunk.append((*columns, bytes.fromhex(digest)))
                if len(chunk) == _CHUNK:
                    yield chunk
                    chunk = []
            position += 1
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptEvent(position, f"cannot be read from the archive {name_of(seal.first, seal.last)}: {error}") from error
    if position != seal.last + 1:
        raise CorruptEvent(position, f"is missing in the archive {name_of(seal.first, seal.last)}")
    if chunk:
        yield chunk


def _lines(log: Path, seal: Seal) -> Iterator[bytes]:
    """The lines of events of a file, each within its limit."""
    name = name_of(seal.first, seal.last)
    try:
        descriptor = os.open(directory(log) / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise StoreFailed(f"archive {name} of the event log cannot be opened: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "rb") as raw, gzip.GzipFile(fileobj=raw) as file:
            msgspec.json.decode(file.readline(_MAX_LINE_BYTES), type=Header)
            while line := file.readline(_MAX_LINE_BYTES):
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptEvent(seal.first, f"lies in the archive {name}, which is damaged: {error}") from error
    except OSError as error:
        raise StoreFailed(f"archive {name} of the event log cannot be read: {error.strerror}") from error


def check(log: Path, seal: Seal) -> None:
    """Compare a file's bytes with what was sealed. Raises CorruptEvent and StoreFailed."""
    name = name_of(seal.first, seal.last)
    found = sha256()
    try:
        with open(directory(log) / name, "rb") as file:
            while data := file.read(1 << 20):
                found.update(data)
    except FileNotFoundError:
        raise CorruptEvent(seal.first, f"lies in the archive {name}, which is missing") from None
    except OSError as error:
        raise StoreFailed(f"archive {name} of the event log cannot be read: {error.strerror}") from error
    if found.digest() != seal.digest:
        raise CorruptEvent(seal.first, f"lies in the archive {name}, which was changed or is damaged")


def sweep(log: Path, seals: Iterable[Seal]) -> None:
    """Remove the files that none of ``seals`` names. Raises OSError."""
    place = directory(log)
    if not place.is_dir():
        return
    named = {name_of(seal.first, seal.last) for seal in seals if seal.kept}
    strangers = [name for name in os.listdir(place) if name not in named]
    for name in strangers:
        os.unlink(place / name)
    if strangers:
        _sync(place)

"""Decompression of layers: the kind is told by the first bytes, the output comes in pieces, memory stays bounded (S23).

No program is started for it (S18). Plain, gzip and zstd are what OCI layers may be; xz and bzip2 are read because people
import root file systems packed with them. A stream that ends early is refused, and so is anything but zeros behind its end.
"""

from __future__ import annotations

import bz2
import enum
import itertools
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from docket.adapters.images.errors import InvalidArchive

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

gzip_library: ModuleType = zlib
try:
    from zlib_ng import zlib_ng
except ImportError:  # slower, and the same in everything else
    pass
else:
    gzip_library = zlib_ng

INPUT_PIECE = 256 * 1024
OUTPUT_PIECE = 512 * 1024
ZSTD_WINDOW_LOG = 27
"""128 MiB, the most that ``zstd -22 --ultra`` writes and that zstd itself reads unless told otherwise."""
XZ_MEMORY_BYTES = 128 * 1024 * 1024


class Compression(enum.Enum):
    """How an archive is packed, with the bytes that it begins with."""

    PLAIN = b""
    GZIP = b"\x1f\x8b\x08"
    ZSTD = b"\x28\xb5\x2f\xfd"
    XZ = b"\xfd7zXZ\x00"
    BZIP2 = b"BZh"


MAGIC_LENGTH = 6


def beginning(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, enough for `compression_of` where there are as many, and the stream with them still in it."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= MAGIC_LENGTH:
            break
    return head, itertools.chain([head], chunks)


def compression_of(head: bytes) -> Compression:
    """Returns how an archive is packed that begins with ``head`` (at least `MAGIC_LENGTH` bytes, unless it is shorter)."""
    for kind in (Compression.GZIP, Compression.ZSTD, Compression.XZ, Compression.BZIP2):
        if head.startswith(kind.value):
            return kind
    return Compression.PLAIN


class _Decoder(Protocol):
    """One member (gzip), frame (zstd) or stream (xz, bzip2)."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: Any, max_length: int) -> bytes: ...


class _Gzip:
    """Gives zlib's object the manner of the others: it keeps its own unread input."""

    def __init__(self) -> None:
        self._object = gzip_library.decompressobj(31)

    @property
    def eof(self) -> bool:
        return bool(self._object.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._object.unused_data)

    def decompress(self, data: Any, max_length: int) -> bytes:
        tail = self._object.unconsumed_tail
        return bytes(self._object.decompress(tail + data if tail else data, max_length))


def _zstd() -> _Decoder:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


_DECODERS: dict[Compression, Callable[[], _Decoder]] = {
    Compression.GZIP: _Gzip,
    Compression.ZSTD: _zstd,
    Compression.XZ: _xz,
    Compression.BZIP2: bz2.BZ2Decompressor,
}
_FAILURES: tuple[type[Exception], ...] = (
    zlib.error,
    gzip_library.error,
    zstd.ZstdError,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
)


def decompressed(chunks: Iterator[bytes], kind: Compression) -> Iterator[bytes]:
    """Yields the unpacked bytes in pieces of at most `OUTPUT_PIECE` (plain chunks pass as they are).

    Raises `InvalidArchive` for damaged or truncated input.
    """
    if kind is Compression.PLAIN:
        yield from chunks
        return
    decoder: _Decoder | None = None
    for chunk in chunks:
        for start in range(0, len(chunk), INPUT_PIECE):
            data = chunk[start : start + INPUT_PIECE]
            while data:
                if decoder is None or decoder.eof:
                    data = data if decoder is None else _next_member(data, kind)
                    if not data:
                        break
                    decoder = _DECODERS[kind]()
                yield from _drain(decoder, data, kind)
                data = decoder.unused_data if decoder.eof else b""
    if decoder is None or not decoder.eof:
        raise InvalidArchive(f"{kind.name.lower()} data is truncated")


def _drain(decoder: _Decoder, data: bytes, kind: Compression) -> Iterator[bytes]:
    """Feeds one piece of input and takes out all that it gives, a bounded piece at a time."""
    while True:
        try:
            piece = decoder.decompress(data, OUTPUT_PIECE)
        except _FAILURES as error:
            raise InvalidArchive(f"{kind.name.lower()} data is damaged: {error}") from error
        if piece:
            yield piece
        if decoder.eof or len(piece) < OUTPUT_PIECE:
            return
        data = b""


def _next_member(data: bytes, kind: Compression) -> bytes:
    """What follows a finished member: another one, or padding, which is nothing."""
    rest = data.lstrip(b"\0")
    if rest and not kind.value.startswith(rest[: len(kind.value)]):
        raise InvalidArchive(f"{kind.name.lower()} data is followed by something else")
    return rest

"""The lines of a file that came from anywhere, compressed or not: each within its limit, and the whole within its own (S57)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from docket.domain.errors import StoreRefused

MAX_LINE_BYTES = 16 << 20
MAX_BYTES = 4 << 30

GZIP = 31
"""zlib's way of saying: with gzip's header and check sum."""

_PIECE = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


def lines(source: BinaryIO) -> Iterator[bytes]:
    """The lines of the compressed file, each within its limit; the whole within its own, however well it was compressed."""
    rest = bytearray()
    number = 0
    for piece in _bounded(source):
        rest += piece
        *whole, last = rest.split(b"\n")
        rest = bytearray(last)
        for line in whole:
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise refused(number, f"it is longer than {MAX_LINE_BYTES} bytes")
            yield bytes(line)
        if len(rest) > MAX_LINE_BYTES:
            raise refused(number + 1, f"it is longer than {MAX_LINE_BYTES} bytes")
    if rest:
        raise refused(number + 1, "it is cut off")


def _bounded(source: BinaryIO) -> Iterator[bytes]:
    """The text in pieces, compressed or not."""
    first = source.read(_PIECE)
    total = 0
    for piece in _decompressed(first, source) if first.startswith(_GZIP_MAGIC) else _plain(first, source):
        total += len(piece)
        if total > MAX_BYTES:
            raise StoreRefused(f"log cannot be imported: it is larger than {MAX_BYTES} bytes")
        yield piece


def _plain(data: bytes, source: BinaryIO) -> Iterator[bytes]:
    while data:
        yield data
        data = source.read(_PIECE)


def _decompressed(first: bytes, source: BinaryIO) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(GZIP)
    while not decompressor.eof:
        data = first or decompressor.unconsumed_tail or source.read(_PIECE)
        first = b""
        if not data:
            raise StoreRefused("log cannot be imported: the file is cut off: export it again")
        try:
            yield decompressor.decompress(data, _PIECE)
        except zlib.error as error:
            raise StoreRefused(f"log cannot be imported: it is no exported log, or damaged ({error})") from None
    if decompressor.unused_data or source.read(1):
        raise StoreRefused("log cannot be imported: there is more in the file than the log")


def refused(number: int, message: str) -> StoreRefused:
    """The error for a line."""
    return StoreRefused(f"log cannot be imported: line {number}: {message}")

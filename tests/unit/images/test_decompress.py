"""Decompression is told by the first bytes, bounded, and strict about the end."""

import bz2
import gzip
import lzma
import resource
import sys
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from docket.adapters.images.decompress import OUTPUT_PIECE, Compression, compression_of, decompressed
from docket.adapters.images.errors import InvalidArchive

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

TEXT = b"".join(b"line %d of the archive\n" % number for number in range(30_000))
PACKERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.PLAIN: bytes,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstd.compress,
    Compression.XZ: lzma.compress,
    Compression.BZIP2: bz2.compress,
}
PACKED = [kind for kind in Compression if kind is not Compression.PLAIN]


def unpack(data: bytes, kind: Compression, piece: int = 3001) -> bytes:
    """All of the output."""
    return b"".join(decompressed((data[start : start + piece] for start in range(0, len(data), piece)), kind))


@pytest.mark.parametrize("kind", Compression)
@pytest.mark.parametrize("piece", [1_000, 10_000_000])
def test_each_kind_is_told_and_unpacked(kind: Compression, piece: int) -> None:
    """Whatever the pieces of the input, the output is the same."""
    packed = PACKERS[kind](TEXT)
    assert compression_of(packed[:6]) is kind
    assert unpack(packed, kind, piece) == TEXT


@pytest.mark.parametrize("kind", PACKED)
def test_members_that_follow_each_other_are_one_stream(kind: Compression) -> None:
    """pigz, zstd -T and cat make archives of several members; zeros at the end are padding."""
    packed = PACKERS[kind](TEXT)
    assert unpack(packed + packed + bytes(700), kind) == TEXT * 2


@pytest.mark.parametrize("kind", PACKED)
def test_s26_truncated_and_damaged_data_is_refused(kind: Compression) -> None:
    """Half an archive is none."""
    packed = bytearray(PACKERS[kind](TEXT))
    for wrong in (packed[:-1], packed[: len(packed) // 2], packed[:7], packed + b"garbage", packed[:-9] + bytes(9)):
        with pytest.raises(InvalidArchive):
            unpack(bytes(wrong), kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKED)
def test_s23_a_bomb_comes_in_bounded_pieces(kind: Compression) -> None:
    """A hundred megabytes from a few kilobytes never lie in memory at once."""
    packed = PACKERS[kind](bytes(100_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert max(map(len, decompressed(iter([packed]), kind))) <= OUTPUT_PIECE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_gzip_works_without_zlib_ng(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster library is a choice, not a need."""
    monkeypatch.setattr("docket.adapters.images.decompress.gzip_library", zlib)
    assert unpack(gzip.compress(TEXT), Compression.GZIP) == TEXT

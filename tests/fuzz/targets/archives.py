"""Archives of layers: they are read, and as root unpacked, within their limits and never outside of their directory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import Mixer, mutate_bytes
from tests.fuzz.targets import Target

from docket.adapters.images.decompress import compression_of, decompressed
from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader
from docket.adapters.images.unpack import unpack_layer

if sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

_LIMITS = TarLimits(members=1000, total_bytes=1 << 22, extension_bytes=1 << 16)
_BLOCK = 512
# Of a header: where each field is, and how long.
_FIELDS = (
    (0, 100),
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (156, 1),
    (157, 100),
    (257, 8),
    (329, 8),
    (337, 8),
    (345, 155),
)
_VALUES = (
    b"../../out", b"/etc/x", b"a", b"a/b", b"./", b"..", b"", b".wh.a", b".wh..wh..opq", b".wh.", b"l/x", b"0000644\0",
    b"77777777777\0",
    b"-1", b"\x80" + bytes(10) + b"\x05", b"\xff" * 12, b"00000000010\0", b"a\0b", b"\xc3\x28", b"a" * 100,
)  # fmt: skip
_TYPES = b"0123456789xgLKSV\0"


def _archive(*members: tuple[str, bytes, str], form: int = tarfile.PAX_FORMAT, **records: str) -> bytes:
    """Members as name, type and link; files hold a little."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as archive:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.pax_headers = kind, link, 0o755, records
            member.size = 5 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"hello"))
    return raw.getvalue()


def _seeds() -> list[bytes]:
    file, directory, symbolic, hard = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    plain = _archive(
        ("d", directory, ""), ("d/f", file, ""), ("l", symbolic, "../../out"), ("l/x", file, ""), ("h", hard, "d/f")
    )
    return [
        plain,
        _archive(("n" * 300, file, ""), ("s", symbolic, "t" * 300), form=tarfile.GNU_FORMAT),
        _archive(("x", file, ""), **{"SCHILY.xattr.user.a": "b", "path": "other", "mtime": "1.5", "size": "5"}),
        _archive(("d/.wh.f", file, ""), ("d/.wh..wh..opq", file, ""), ("p", tarfile.FIFOTYPE, ""), ("c", tarfile.CHRTYPE, "")),
        gzip.compress(plain), zstd.compress(plain), lzma.compress(plain), bz2.compress(plain),
    ]  # fmt: skip


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 7000):
        yield data[start : start + 7000]


def _reader(data: bytes) -> TarReader:
    return TarReader(ByteStream(decompressed(_pieces(data), compression_of(data)), _LIMITS.total_bytes), _LIMITS)


def _run(data: bytes) -> None:
    if os.geteuid() == 0:
        _unpack(data)
        return
    try:
        for _ in _reader(data):
            pass
    except InvalidArchive:
        return


def _unpack(data: bytes) -> None:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    base = Path(tempfile.mkdtemp(prefix="docket-fuzz-", dir=memory))
    try:
        for name in ("layer", "out"):
            (base / name).mkdir()
        (base / "out" / "canary").write_bytes(b"alive")
        before = _look(base)
        descriptor = os.open(base / "layer", os.O_RDONLY | os.O_DIRECTORY)
        try:
            unpack_layer(_reader(data), descriptor)
        except InvalidArchive:
            pass
        finally:
            os.close(descriptor)
        assert _look(base) == before
    finally:
        shutil.rmtree(base)


def _look(base: Path) -> list[Any]:
    """What lies beside the layer."""
    found: list[Any] = [sorted(path.name for path in base.iterdir())]
    for path in sorted((base / "out").rglob("*")):
        status = path.lstat()
        found.append((path.name, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, path.read_bytes()))
    return found


def _mutate(mixer: Mixer, data: bytes) -> bytes:
    """Mostly a field of a header, with the checksum made right again; else whole blocks, or any bytes."""
    dice = mixer.dice
    if len(data) < 2 * _BLOCK or data[257:262] != b"ustar" or dice.random() < 0.2:
        return mutate_bytes(mixer, data)
    blocks = [data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK)]
    headers = [number for number, block in enumerate(blocks) if block[257:262] == b"ustar" and len(block) == _BLOCK]
    at = dice.choice(headers)
    match dice.randrange(8):
        case 0:
            other = mixer.other()
            start = dice.randrange(max(1, len(other) // _BLOCK)) * _BLOCK
            blocks[at:at] = [other[start : start + 2 * _BLOCK]]
        case 1:
            del blocks[at]
        case 2 if at + 1 < len(blocks):
            blocks[at + 1] = mutate_bytes(mixer, blocks[at + 1])[:_BLOCK].ljust(_BLOCK, b"\0")
        case _:
            blocks[at] = _other_header(mixer, blocks[at])
    return b"".join(blocks)


def _other_header(mixer: Mixer, block: bytes) -> bytes:
    dice, header = mixer.dice, bytearray(block)
    for _ in range(dice.randrange(1, 3)):
        start, length = dice.choice(_FIELDS)
        if start == 156:
            header[156] = dice.choice(_TYPES)
            continue
        value = dice.choice(
            (*_VALUES, mixer.word().encode("utf-8", "replace"), mutate_bytes(mixer, bytes(header[start : start + length])))
        )
        header[start : start + length] = value[:length].ljust(length, b"\0")
    if dice.random() < 0.95:
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


TARGETS = {"archives": Target("archives", ("adapters/images/", "domain/oci/layer.py"), _seeds, _run, _mutate)}

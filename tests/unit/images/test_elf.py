"""What a program needs is read from its file, not asked of the program."""

import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.adapters.images.elf import Loader, NotElf, parse_elf, parse_ld_cache


def elf(interpreter: bytes = b"", needed: tuple[bytes, ...] = (), runpath: bytes = b"") -> bytes:
    """A 64-bit ELF file with a loader and a dynamic section, as far as asked for."""
    strings = b"\0" + b"".join(text + b"\0" for text in (*needed, runpath, interpreter))
    offsets, at = [], 1
    for text in (*needed, runpath, interpreter):
        offsets.append(at)
        at += len(text) + 1
    base = 0x400
    tags = (
        [(1, offset) for offset in offsets[: len(needed)]]
        + ([(29, offsets[-2])] if runpath else [])
        + [(5, 0x1000 + base), (0, 0)]
    )
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    segments = [(1, 0, 0x1000, 0x2000)]
    segments += [(2, 0x200, 0x1200, len(dynamic))] if needed else []
    segments += [(3, base + offsets[-1], 0, len(interpreter))] if interpreter else []
    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 0, offset, address, 0, size, size, 0) for kind, offset, address, size in segments
    )
    return (header + table).ljust(0x200, b"\0") + dynamic.ljust(base - 0x200, b"\0") + strings


def test_static_and_dynamic_files_are_told_apart() -> None:
    """Only a file without loader and libraries runs in an empty image."""
    assert parse_elf(elf()).is_static
    found = parse_elf(elf(b"/lib/ld.so", (b"libc.so.6", b"libm.so"), b"$ORIGIN/../lib:/opt"))
    assert not found.is_static
    assert (found.interpreter, found.needed, found.runpath) == (
        "/lib/ld.so",
        ("libc.so.6", "libm.so"),
        ("$ORIGIN/../lib", "/opt"),
    )
    assert not parse_elf(elf(needed=(b"libc.so.6",))).is_static


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\n", b"\x7fELF", elf()[:40], b"\x7fELF\2\2" + bytes(100), b"\x7fELF\3\1" + bytes(100)]
)
def test_other_files_are_refused(data: bytes) -> None:
    """Scripts, fragments and other byte orders."""
    with pytest.raises(NotElf):
        parse_elf(data)


@given(st.integers(0, 0x420), st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused(place: int, value: int) -> None:
    """No flipped byte makes the parser fail in another way."""
    data = bytearray(elf(b"/lib/ld.so", (b"libc.so.6",)))
    data[min(place, len(data) - 1)] = value
    try:
        parse_elf(bytes(data))
    except NotElf:
        return


def test_the_loaders_cache_is_read() -> None:
    """Names with their paths; variants for special processors are left out."""
    strings = b"libc.so.6\0/lib/libc.so.6\0/lib/fast/libc.so.6\0"
    at = 48 + 2 * 24
    entries = struct.pack("<iIIIQ", 3, at, at + 25, 0, 1 << 62) + struct.pack("<iIIIQ", 3, at, at + 10, 0, 0)
    data = b"glibc-ld.so.cache1.1" + struct.pack("<IIBxxxI12x", 2, len(strings), 0, 0) + entries + strings
    assert parse_ld_cache(data) == {"libc.so.6": ["/lib/libc.so.6"]}
    assert parse_ld_cache(b"something else") == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs an ELF system")
def test_the_closure_of_a_real_program_is_complete() -> None:
    """Every library that a found library needs is found as well, and so is the loader."""
    found = Loader().closure("/bin/ls")
    names = {Path(path).name for path in found}
    for data in found.values():
        assert set(parse_elf(data).needed) <= names
    assert parse_elf(Path("/bin/ls").read_bytes()).interpreter in found


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    """The image is not assembled with a hole in it."""
    (tmp_path / "program").write_bytes(elf(needed=(b"libnowhere.so.9",)))
    with pytest.raises(FileNotFoundError, match="libnowhere"):
        Loader().closure(str(tmp_path / "program"))


def test_libraries_beside_the_program_come_first(tmp_path: Path) -> None:
    """$ORIGIN is where the program lies; a library of another kind is passed over, as the loader does."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/libx.so").write_bytes(b"\x7fELF\1\1" + bytes(100))
    (tmp_path / "libx.so").write_bytes(elf())
    (tmp_path / "program").write_bytes(elf(needed=(b"libx.so",), runpath=b"$ORIGIN/bad:$ORIGIN"))
    assert list(Loader().closure(str(tmp_path / "program"))) == [f"{tmp_path}/libx.so"]

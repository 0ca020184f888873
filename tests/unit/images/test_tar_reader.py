"""Headers of archives from strangers: read as Go reads them, refused where readers could differ."""

from __future__ import annotations

import io
import resource
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.adapters.images import tar_reader
from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.tar_reader import ByteStream, TarLimits, TarReader

Read = Callable[..., TarReader]


def everything(reader: TarReader) -> list[tuple[bytes, bytes, bytes]]:
    """Name, type and data of every member."""
    return [(member.name, member.type, reader.data()) for member in reader]


def refused(reader: TarReader) -> str:
    """Reads what must be refused, and returns why it was."""
    with pytest.raises(InvalidArchive) as caught:
        everything(reader)
    return str(caught.value)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_each_format_are_read(form: int, read: Read) -> None:
    """Long names, large numbers, fractions of seconds and data of any length survive."""
    directory = "d" * 90 if form == tarfile.USTAR_FORMAT else "very-long-" * 15
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for size in (0, 1, 511, 512, 513, 20_000):
            header = tarfile.TarInfo(f"{directory}/{'n' * 60}-{size}")
            header.size, header.uid, header.gid, header.mtime, header.mode = size, 1000, 2000, 1_700_000_000, 0o4755
            archive.addfile(header, io.BytesIO(b"x" * size))
    reader = read(buffer.getvalue())
    for size, member in zip((0, 1, 511, 512, 513, 20_000), reader, strict=True):
        assert member.name == f"{directory}/{'n' * 60}-{size}".encode()
        assert (member.uid, member.gid, member.mode, member.mtime_ns) == (1000, 2000, 0o4755, 1_700_000_000 * 10**9)
        assert reader.data() == b"x" * size


def test_unread_data_is_skipped(archive: Any, read: Read) -> None:
    """A member whose data nobody wants does not disturb the next one."""
    archive.add("a", data=b"1" * 9000).add("b", data=b"2")
    assert [member.name for member in read(archive.bytes())] == [b"a", b"b"]


def test_pax_records_override_the_header(archive: Any, read: Read) -> None:
    """Names, owners beyond octal, nanoseconds and attributes come from the extended header."""
    pax = {"path": "p/ü", "uid": "3000000", "gid": "7", "mtime": "12.5", "comment": "x"}
    archive.add("short", pax=pax, xattrs={"user.a": b"1=2\n3"})
    archive.add("l", "symlink", pax={"linkpath": "t" * 300}).add("next", mtime=-2)
    first, second, third = read(archive.bytes())
    assert (first.name, first.uid, first.gid, first.mtime_ns) == ("p/ü".encode(), 3_000_000, 7, 12_500_000_000)
    assert first.xattrs == {b"user.a": b"1=2\n3"}
    assert second.linkname == b"t" * 300
    assert (third.name, third.xattrs, third.mtime_ns) == (b"next", None, -2_000_000_000)


def test_links_and_directories_have_no_data_whatever_they_say(archive: Any, read: Read) -> None:
    """Go ignores their size field; a reader that did not would see other members."""
    archive.add("d", "dir", size=512).add("f", data=b"x").add("l", "link", link="f", size=1024).add("g", data=b"y")
    assert [entry[::2] for entry in everything(read(archive.bytes()))] == [
        (b"d/", b""),
        (b"f", b"x"),
        (b"l", b""),
        (b"g", b"y"),
    ]


def test_an_old_directory_is_one_by_its_slash(archive: Any, read: Read) -> None:
    """Archives without types for directories mark them with a slash."""
    archive.add("old/", b"\0").add("x", b"\0", data=b"1")
    assert [entry[:2] for entry in everything(read(archive.bytes()))] == [(b"old/", b"5"), (b"x", b"0")]
    assert "directory with data" in refused(read(type(archive)().add("old/", b"\0", data=b"1").bytes()))


def test_global_headers_change_nothing(archive: Any, read: Read) -> None:
    """A global header could rename every member in one reader and none in another; Docker ignores it, so does docket."""
    body = b"16 path=/evil/x\n"
    archive.add("pax_global_header", b"g", data=body).add("a")
    assert [name for name, _, _ in everything(read(archive.bytes()))] == [b"a"]


def test_the_end_is_two_zero_blocks_or_the_end_of_input(archive: Any, read: Read) -> None:
    """A lone zero block could hide members from one reader and show them to another."""
    archive.add("a", data=b"1")
    assert everything(read(archive.data)) == everything(read(archive.data + bytes(512))) == everything(read(archive.bytes()))
    assert "lone zero block" in refused(read(archive.data + bytes(512) + archive.data))
    assert len(everything(read(archive.bytes() + archive.data))) == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(b"S", "sparse"), (b"V", "unknown type"), (b"D", "unknown type"), (b"\x1b", "unknown type"), (b"A", "unknown")],
)
def test_s23_sparse_files_and_unknown_types_are_refused(kind: bytes, reason: str, archive: Any, read: Read) -> None:
    """What is not understood is not guessed at."""
    assert reason in refused(read(archive.add("x", kind).bytes()))


def test_s23_a_sparse_petabyte_is_refused(archive: Any, read: Read) -> None:
    """Both ways of saying it."""
    assert "sparse" in refused(
        read(archive.add("x", pax={"GNU.sparse.realsize": str(10**15), "GNU.sparse.major": "1"}).bytes())
    )


def test_s23_an_extended_header_of_a_gigabyte_is_refused_unread(archive: Any, read: Read) -> None:
    """The size alone decides; nothing is read into memory."""
    for kind in (b"x", b"g", b"L", b"K"):
        data = type(archive)().add("h", kind, size=2**30).data
        assert "extended header" in refused(read(data + bytes(4096)))


def test_s23_members_and_bytes_are_bounded(archive: Any, read: Read) -> None:
    """Ten million members or a petabyte stop at the limit."""
    for number in range(20):
        archive.add(f"f{number}", data=b"x" * 1000)
    assert "more than 19 members" in refused(read(archive.bytes(), TarLimits(members=19)))
    assert "larger than 8192 bytes" in refused(read(archive.bytes(), TarLimits(total_bytes=8192), 512))
    assert "truncated" in refused(read(type(archive)().add("x", size=10**15).data))


def test_s23_memory_stays_flat_over_a_large_archive(archive: Any) -> None:
    """A stream of any length passes through a buffer of one chunk."""
    head = archive.add("big", size=200 * 2**20).data
    chunk = bytes(2**20)
    stream = ByteStream(iter([head, *[chunk] * 200, bytes(1024)]), 2**40)
    reader = TarReader(stream, TarLimits())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in reader:
        assert sum(len(piece) for piece in reader.data_pieces()) == 200 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize(
    "number",
    [
        b"0000+17\0",
        b"0o00017\0",
        b"00_0017\0",
        b"-000017\0",
        b"0000018\0",
        b"17\x0017\0\0\0",
        b"\xc3\x9f00000\0",
        "٣".encode() + b"00000\0",
    ],
)
def test_s11_numbers_are_octal_digits_and_nothing_else(number: bytes, archive: Any, read: Read) -> None:
    """Python's own parser would take signs, underscores and prefixes."""
    block = bytearray(archive.add("x").data)
    block[108:116] = number
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    refused(read(bytes(block)))


@pytest.mark.parametrize(
    "body",
    [
        b"5 a=b",
        b"7 a=b\n",
        b"5 a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"99999999999999999999 a=b\n",
        b"6 abc\n",
        b"5 =b\n",
        b" a=b\n",
        b"a=b\n",
        b"12 path=a\0b\n",
        b"8 path=\n",
        b"10 size=-1\n",
        b"10 size=+1\n",
        b"12 mtime=nan\n",
        b"13 uid=0x1000\n",
        b"29 size=99999999999999999999\n",
    ],
)
def test_malformed_pax_records_are_refused(body: bytes, archive: Any, read: Read) -> None:
    """Lengths must be right to the byte, numbers must be digits, names must be names."""
    refused(read(archive.add("h", b"x", data=body).add("f").bytes()))


def test_damage_is_told(archive: Any, read: Read) -> None:
    """A flipped bit in a header, text instead of an archive, an end too soon."""
    data = bytearray(archive.add("a", data=b"x" * 600).bytes())
    data[3] ^= 1
    assert "checksum" in refused(read(bytes(data)))
    refused(read(b"this is no archive" * 100))
    refused(read(archive.data[:700]))
    refused(read(archive.data[:100]))
    assert "extended header" in refused(read(type(archive)().add("h", b"L", data=b"name\0").bytes()))


@given(st.data())
def test_mangled_archives_end_in_members_or_an_error(data: st.DataObject) -> None:
    """Whatever bytes are changed, the reader ends, and in one way or the other."""
    member = tarfile.TarInfo("d/file")
    member.size = 3
    member.pax_headers = {"SCHILY.xattr.user.a": "b", "path": "long" * 40}
    raw = bytearray(member.tobuf(tarfile.PAX_FORMAT) + b"abc" + bytes(509) + bytes(1024))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    reader = TarReader(ByteStream(iter([bytes(raw)]), 2**20), TarLimits())
    try:
        everything(reader)
    except InvalidArchive:
        return


@given(st.binary(max_size=200))
def test_pax_bodies_end_in_records_or_an_error(body: bytes) -> None:
    """No body makes the parser loop or fail in another way."""
    try:
        tar_reader.parse_pax(body)
    except InvalidArchive:
        return

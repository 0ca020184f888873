"""A streaming reader of tar archives from strangers: ustar, PAX and GNU headers become values, nothing is written (S23).

Where readers could differ, this one reads as Go's ``archive/tar`` does, since Docker and containerd use that: links, devices
and directories have no data whatever their size field says; global PAX headers are ignored; a member's own PAX header comes
first, a GNU long name overrides it. What is refused: sparse files (a petabyte in a kilobyte), unknown types, wrong checksums, a
lone zero block in the middle, numbers that are no octal digits, and everything beyond `TarLimits`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.paths import MAX_PATH_BYTES, show

BLOCK = 512
_END = bytes(BLOCK)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")

REGULAR, HARD_LINK, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = (bytes([code]) for code in b"0123456")
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"
_EXTENSIONS = frozenset({_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK})
_WITHOUT_DATA = frozenset({HARD_LINK, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO})
_REGULAR_CODES = frozenset({REGULAR, b"\0", b"7"})

_XATTR = b"SCHILY.xattr."
_SECOND_NS = 1_000_000_000
_MAX_INTEGER = 2**63 - 1


class TarLimits(msgspec.Struct, frozen=True):
    """How much an archive may ask for. The defaults are far above real images and far below a full disk."""

    members: int = 1_000_000
    total_bytes: int = 64 * 1024**3
    """Of the unpacked archive, headers and padding included."""
    extension_bytes: int = 1024 * 1024
    """Of one PAX header or GNU long name."""


class Member:
    """One member of an archive, as its headers describe it."""

    __slots__ = ("devmajor", "devminor", "gid", "linkname", "mode", "mtime_ns", "name", "size", "type", "uid", "xattrs")

    name: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    linkname: bytes
    devmajor: int
    devminor: int
    xattrs: dict[bytes, bytes] | None


class ByteStream:
    """The bytes of an iterator, taken in the sizes that the reader needs. Counts them, and stops at ``limit``."""

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._position = 0
        self._limit = limit
        self.total = 0

    def take(self, count: int) -> bytes:
        """Returns exactly ``count`` bytes; raises `InvalidArchive` if there are fewer."""
        start = self._position
        end = start + count
        if end <= len(self._chunk):
            self._position = end
            return self._chunk[start:end]
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[bytes]:
        """Yields ``count`` bytes in pieces as they come."""
        while count:
            if self._position >= len(self._chunk) and not self._refill():
                raise InvalidArchive("the archive is truncated")
            piece = self._chunk[self._position : self._position + count]
            self._position += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        """Passes over ``count`` bytes."""
        end = self._position + count
        if end <= len(self._chunk):
            self._position = end
        else:
            for _ in self.pieces(count):
                pass

    def at_end(self) -> bool:
        """Whether no byte is left."""
        return self._position >= len(self._chunk) and not self._refill()

    def drain(self) -> None:
        """Reads whatever is left, so that digests cover every byte."""
        while self._refill():
            pass

    def _refill(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk = chunk
                self._position = 0
                self.total += len(chunk)
                if self.total > self._limit:
                    raise InvalidArchive(f"the archive is larger than {self._limit} bytes when unpacked")
                return True
        self._chunk = b""
        self._position = 0
        return False


class TarReader:
    """Iterates over the members of an archive. The data of each is read, or skipped, before the next one."""

    def __init__(self, stream: ByteStream, limits: TarLimits) -> None:
        self._stream = stream
        self._limits = limits
        self._unread = 0
        self._padding = 0
        self._count = 0
        self._numbers: dict[bytes, int] = {}

    def __iter__(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            yield member

    def data(self) -> bytes:
        """Returns what is left of the current member's data, at once."""
        found = self._stream.take(self._unread)
        self._unread = 0
        return found

    def data_pieces(self) -> Iterator[bytes]:
        """Yields what is left of the current member's data."""
        for piece in self._stream.pieces(self._unread):
            self._unread -= len(piece)
            yield piece

    def _next(self) -> Member | None:
        pax: dict[bytes, bytes] = {}
        long_name = long_link = None
        extended = False
        while True:
            member = self._header()
            if member is None:
                if extended:
                    raise InvalidArchive("the archive ends after an extended header")
                return None
            if member.type not in _EXTENSIONS:
                return self._finished(member, pax, long_name, long_link)
            extended = True
            body = self._extension(member)
            if member.type == _PAX:
                pax = parse_pax(body)
            elif member.type == _GNU_NAME:
                long_name = _until_nul(body)
            elif member.type == _GNU_LINK:
                long_link = _until_nul(body)

    def _extension(self, member: Member) -> bytes:
        if member.size > self._limits.extension_bytes:
            raise InvalidArchive(f"an extended header of {member.size} bytes, at most {self._limits.extension_bytes} are read")
        self._begin_data(member.size)
        return self.data()

    def _header(self) -> Member | None:
        if self._unread or self._padding:
            self._stream.skip(self._unread + self._padding)
            self._unread = self._padding = 0
        if self._stream.at_end():
            return None
        block = self._stream.take(BLOCK)
        if block == _END:
            if not self._stream.at_end() and self._stream.take(BLOCK) != _END:
                raise InvalidArchive("a lone zero block stands in the middle of the archive")
            return None
        self._count += 1
        if self._count > self._limits.members:
            raise InvalidArchive(f"the archive has more than {self._limits.members} members")
        return self._parsed(block)

    def _parsed(self, block: bytes) -> Member:
        fields = _HEADER.unpack(block)
        number = self._number
        if number(fields[6]) != sum(block) - sum(fields[6]) + 256:
            raise InvalidArchive(f"header {self._count}: wrong checksum, the archive is damaged or no tar archive")
        member = Member()
        name = _until_nul(fields[0])
        magic = fields[9]
        if magic[:6] == b"ustar\0" and fields[14][:1] != b"\0":
            name = _until_nul(fields[14]) + b"/" + name
        member.name = name
        member.mode = number(fields[1]) & 0o7777
        member.uid = number(fields[2])
        member.gid = number(fields[3])
        member.size = number(fields[4])
        member.mtime_ns = _number(fields[5]) * _SECOND_NS
        member.type = fields[7]
        member.linkname = _until_nul(fields[8])
        has_device = magic[:5] == b"ustar" and member.type in (CHAR_DEVICE, BLOCK_DEVICE)
        member.devmajor = number(fields[12]) if has_device else 0
        member.devminor = number(fields[13]) if has_device else 0
        member.xattrs = None
        return member

    def _number(self, field: bytes) -> int:
        """`_number`, remembering the fields that most members share, and refusing negative values."""
        known = self._numbers.get(field)
        if known is None:
            known = _number(field)
            if known < 0:
                raise InvalidArchive(f"header {self._count}: negative number")
            if len(self._numbers) < 4096:
                self._numbers[field] = known
        return known

    def _finished(self, member: Member, pax: dict[bytes, bytes], long_name: bytes | None, long_link: bytes | None) -> Member:
        if pax:
            apply_pax(member, pax)
        if long_name is not None:
            member.name = long_name
        if long_link is not None:
            member.linkname = long_link
        if member.type in _REGULAR_CODES:
            self._check_directory_in_disguise(member)
        elif member.type not in _WITHOUT_DATA:
            what = "a sparse file" if member.type == _GNU_SPARSE else f"of the unknown type {show(member.type)}"
            raise InvalidArchive(f"member {show(member.name)}: {what}, which is not supported")
        if member.type in _WITHOUT_DATA:
            member.size = 0
        if len(member.linkname) > MAX_PATH_BYTES:
            raise InvalidArchive(f"member {show(member.name)}: the link's target is longer than {MAX_PATH_BYTES} bytes")
        self._begin_data(member.size)
        return member

    def _check_directory_in_disguise(self, member: Member) -> None:
        """Archives from before 1988 have no type for directories: their names end with a slash."""
        if member.name.endswith(b"/"):
            if member.size:
                raise InvalidArchive(f"member {show(member.name)}: a directory with data")
            member.type = DIRECTORY
        else:
            member.type = REGULAR

    def _begin_data(self, size: int) -> None:
        self._unread = size
        self._padding = -size % BLOCK


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """An octal number, or GNU's binary one. Python's own `int` would also take signs, underscores and ``0o``."""
    digits = field.strip(b"\0 ")
    if not digits:
        return 0
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        # The first bit marks the format, the second one is the sign.
        value = value - (1 << bits) if field[0] & 0x40 else value - (1 << (bits - 1))
        if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            raise InvalidArchive("a number in a header is out of range")
        return value
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise InvalidArchive(f"a number in a header is not octal: {show(digits)}")
    return int(digits, 8)


def parse_pax(body: bytes) -> dict[bytes, bytes]:
    """Returns the records ``LENGTH KEY=VALUE\\n`` of a PAX header; raises `InvalidArchive`."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 12)
        length = body[position:space] if space > 0 else b""
        if not length.isdigit():
            raise InvalidArchive("a PAX record has no length")
        end = position + int(length)
        if end <= space + 1 or end > len(body) or body[end - 1 : end] != b"\n":
            raise InvalidArchive("a PAX record has the wrong length")
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not key or not equals:
            raise InvalidArchive("a PAX record has no key")
        records[key] = value
        position = end
    return records


def apply_pax(member: Member, records: dict[bytes, bytes]) -> None:
    """Lets a member's own PAX header override the fields of its ustar header. Unknown keys mean nothing here."""
    for key, value in records.items():
        if key == b"path":
            member.name = _pax_name(value)
        elif key == b"linkpath":
            member.linkname = _pax_name(value)
        elif key == b"size":
            member.size = _pax_integer(value)
        elif key == b"uid":
            member.uid = _pax_integer(value)
        elif key == b"gid":
            member.gid = _pax_integer(value)
        elif key == b"mtime":
            member.mtime_ns = _pax_time(value)
        elif key.startswith(_XATTR):
            member.xattrs = member.xattrs or {}
            member.xattrs[key[len(_XATTR) :]] = value
        elif key.startswith(b"GNU.sparse."):
            raise InvalidArchive(f"member {show(member.name)}: a sparse file, which is not supported")


def _pax_name(value: bytes) -> bytes:
    if not value or b"\0" in value:
        raise InvalidArchive("a PAX header holds an empty name or one with a NUL byte")
    return value


def _pax_integer(value: bytes) -> int:
    if not value.isdigit() or len(value) > 19 or int(value) > _MAX_INTEGER:
        raise InvalidArchive(f"a PAX header holds a wrong number: {show(value)}")
    return int(value)


def _pax_time(value: bytes) -> int:
    """Seconds with a fraction, as nanoseconds; what is finer is cut."""
    sign = -1 if value.startswith(b"-") else 1
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or len(whole) > 11 or (fraction and not fraction.isdigit()):
        raise InvalidArchive(f"a PAX header holds a wrong time: {show(value)}")
    return sign * (int(whole) * _SECOND_NS + int((fraction + b"000000000")[:9]))

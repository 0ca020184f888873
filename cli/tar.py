"""Tar archives for `docket cp`: headers from and to values, no more than engines and people's trees need.

Reads ustar, PAX and GNU long names; writes ustar, with PAX for what does not fit. (The standard library's module costs as much
to import as a short command takes, and its extraction has been led astray again and again.)
"""

from __future__ import annotations

from docket.cli.errors import CliError
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 512
END = bytes(2 * BLOCK)
REGULAR, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

_MAX_EXTENSION = 1024 * 1024
_MAX_NAME = 100
_PIECE = 1 << 18


class Member:
    """One member: bytes as names, seconds and nanoseconds as one number."""

    __slots__ = ("device", "gid", "kind", "link", "mode", "mtime_ns", "name", "size", "uid")

    def __init__(self, name: bytes, kind: bytes, mode: int = 0, size: int = 0, mtime_ns: int = 0, link: bytes = b"") -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.size = size
        self.mtime_ns = mtime_ns
        self.link = link
        self.uid = self.gid = 0
        self.device = (0, 0)


class Reader:
    """Members of an archive that comes in pieces of any size; the data of each is taken, or skipped, before the next."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = filter(None, pieces)
        self._buffer = b""
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        records: dict[str, bytes] = {}
        while (block := self._next_block()) is not None:
            member = _parsed(block)
            if member.kind in (b"x", b"g", b"L", b"K"):
                self._begin(member.size)
                body = self._body(member)
                if member.kind == b"x":
                    records.update(_records(body))
                elif member.kind != b"g":
                    records["path" if member.kind == b"L" else "linkpath"] = body.partition(b"\0")[0]
                continue
            _apply(member, records)
            records = {}
            self._begin(member.size if member.kind in (REGULAR, b"\0", b"7") else 0)
            yield member

    def data(self) -> Iterator[bytes]:
        """The current member's data."""
        while self._left:
            piece = self._some(self._left)
            self._left -= len(piece)
            yield piece

    def _begin(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def _body(self, member: Member) -> bytes:
        if member.size > _MAX_EXTENSION:
            raise CliError("the archive has an extended header of more than 1 MiB")
        return b"".join(self.data())

    def _next_block(self) -> bytes | None:
        for _ in self.data():
            pass
        self._exactly(self._padding)
        self._padding = 0
        block = self._exactly(BLOCK, at_end=True)
        return block if block.strip(b"\0") else None

    def _some(self, most: int) -> bytes:
        while not self._buffer:
            piece = next(self._pieces, None)
            if piece is None:
                raise CliError("the archive ended early")
            self._buffer = piece
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def _exactly(self, count: int, *, at_end: bool = False) -> bytes:
        found = b""
        while len(found) < count:
            if at_end and not found and not self._buffer:
                self._buffer = next(self._pieces, b"")
                if not self._buffer:
                    return b""
            found += self._some(count - len(found))
        return found


def _parsed(block: bytes) -> Member:
    if _octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
        raise CliError("the archive is damaged: a header has the wrong checksum")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345:346] != b"\0":
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    member = Member(name, block[156:157], _octal(block[100:108]) & 0o7777, _octal(block[124:136]))
    member.mtime_ns = _octal(block[136:148]) * 10**9
    member.link = block[157:257].partition(b"\0")[0]
    member.uid, member.gid = _octal(block[108:116]), _octal(block[116:124])
    member.device = (_octal(block[329:337]), _octal(block[337:345]))
    return member


def _octal(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's binary numbers
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        return value - (1 << bits) if field[0] & 0x40 else value - (1 << (bits - 1))
    digits = field.strip(b"\0 ")
    if digits.strip(b"01234567"):
        raise CliError("the archive is damaged: a header has a wrong number")
    return int(digits or b"0", 8)


def _records(body: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while body:
        length, space, _ = body.partition(b" ")
        if not space or not length.isdigit() or not len(length) + 3 < int(length) <= len(body):
            raise CliError("the archive is damaged: an extended header cannot be read")
        key, _, value = body[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value
        body = body[int(length) :]
    return found


def _apply(member: Member, records: dict[str, bytes]) -> None:
    member.name = records.get("path", member.name)
    member.link = records.get("linkpath", member.link)
    try:
        member.size = int(records.get("size", member.size))
        if "mtime" in records:
            seconds, _, fraction = records["mtime"].lstrip(b"-").partition(b".")
            time = int(seconds) * 10**9 + int((fraction + b"000000000")[:9])
            member.mtime_ns = -time if records["mtime"].startswith(b"-") else time
    except ValueError:
        raise CliError(f"the archive is damaged: member {shown(member.name)} has a wrong number") from None
    if member.size < 0 or b"\0" in member.name or b"\0" in member.link:
        raise CliError(f"the archive is damaged: member {shown(member.name)} has a wrong header")


def shown(name: bytes) -> str:
    """A name for a message."""
    return printable(name[:200].decode("utf-8", "replace"))


def header(member: Member) -> bytes:
    """The blocks before a member's data."""
    name = member.name + b"/" if member.kind == DIRECTORY and not member.name.endswith(b"/") else member.name
    seconds, fraction = divmod(member.mtime_ns, 10**9)
    records: dict[bytes, bytes] = {}
    if fraction or not 0 <= seconds < 8**11:
        records[b"mtime"] = b"%s%d.%09d" % (b"-" if member.mtime_ns < 0 else b"", *divmod(abs(member.mtime_ns), 10**9))
    records |= {b"path": name} if len(name) > _MAX_NAME else {}
    records |= {b"linkpath": member.link} if len(member.link) > _MAX_NAME else {}
    numbers = ((b"uid", member.uid, 8**7), (b"gid", member.gid, 8**7), (b"size", member.size, 8**11))
    records |= {key: b"%d" % value for key, value, limit in numbers if value >= limit}
    uid, gid, size = (value if value < limit else 0 for _, value, limit in numbers)
    block = _block(name, member, uid, gid, size, seconds if 0 <= seconds < 8**11 else 0)
    if not records:
        return block
    body = b"".join(_record(key, value) for key, value in sorted(records.items()))
    extension = Member(b"PaxHeaders/x", b"x", 0o644)
    return _block(extension.name, extension, 0, 0, len(body), 0) + body + bytes(-len(body) % BLOCK) + block


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(name: bytes, member: Member, uid: int, gid: int, size: int, seconds: int) -> bytes:
    head = name[:_MAX_NAME].ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (member.mode, uid, gid, size, seconds)
    tail = member.kind + member.link[:_MAX_NAME].ljust(100, b"\0") + b"ustar\00000" + bytes(64)
    tail += b"%07o\0%07o\0" % member.device
    block = (head + b" " * 8 + tail).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def renamed(pieces: Iterable[bytes], old: bytes, new: bytes) -> Iterator[bytes]:
    """The archive with the first ``old`` in each member's name replaced by ``new``, as Docker's client renames what it copies."""
    old = b"" if old == b"/" else old
    reader = Reader(pieces)
    for member in reader:
        member.name = member.name.replace(old, new, 1)
        if member.kind == HARD_LINK:
            member.link = member.link.replace(old, new, 1)
        yield header(member)
        yield from reader.data()
        yield bytes(-member.size % BLOCK) if member.kind in (REGULAR, b"\0", b"7") else b""
    yield END

"""Headers of tar archives: plain ustar where it can say everything, a PAX header before it where it cannot.

What a member has decides every byte: no clock, no names of owners, records in the order of their keys. So equal trees give
equal archives. PAX says what ustar has no room for: long names, large numbers, fractions of seconds, attributes
(``SCHILY.xattr.NAME``, as Docker and GNU tar write them).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from docket.adapters.images.tar_reader import BLOCK, DIRECTORY

END = bytes(2 * BLOCK)
"""What ends an archive."""

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_BLANK_SUM = b"        "
_MAX_NAME = 100
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
_SECOND_NS = 1_000_000_000


def member_header(
    name: bytes,
    kind: bytes,
    *,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime_ns: int = 0,
    linkname: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """Returns the blocks before a member's data. A directory's name gets its slash here."""
    if kind == DIRECTORY and not name.endswith(b"/"):
        name += b"/"
    seconds, fraction = divmod(mtime_ns, _SECOND_NS)
    records = {b"SCHILY.xattr." + key: value for key, value in (xattrs or {}).items()}
    if fraction or not 0 <= seconds <= _MAX_SIZE:
        records[b"mtime"] = _pax_time(mtime_ns)
        seconds = seconds if 0 <= seconds <= _MAX_SIZE else 0
    if len(name) > _MAX_NAME:
        records[b"path"] = name
    if len(linkname) > _MAX_NAME:
        records[b"linkpath"] = linkname
    for key, value, most in ((b"uid", uid, _MAX_ID), (b"gid", gid, _MAX_ID), (b"size", size, _MAX_SIZE)):
        if value > most:
            records[key] = b"%d" % value
    uid, gid = (value if value <= _MAX_ID else 0 for value in (uid, gid))
    block = _block(name, kind, mode, uid, gid, size if size <= _MAX_SIZE else 0, seconds, linkname, device)
    return _extended(name, records) + block if records else block


def _pax_time(time_ns: int) -> bytes:
    seconds, fraction = divmod(abs(time_ns), _SECOND_NS)
    text = b"%d.%09d" % (seconds, fraction)
    return (b"-" if time_ns < 0 else b"") + text.rstrip(b"0").rstrip(b".")


def _extended(name: bytes, records: Mapping[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    base = name.rstrip(b"/").rpartition(b"/")[2][: _MAX_NAME - 16]
    return _block(b"PaxHeaders.0/" + base, b"x", 0o644, 0, 0, len(body), 0, b"", (0, 0)) + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where LENGTH counts itself too."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def padding(size: int) -> bytes:
    """What fills up the last block of ``size`` bytes of data."""
    return bytes(-size % BLOCK)


def _block(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, linkname: bytes, device: tuple[int, int]
) -> bytes:
    fields = (
        *(name[:_MAX_NAME], b"%07o" % mode, b"%07o" % uid, b"%07o" % gid, b"%011o" % size, b"%011o" % mtime),
        *(_BLANK_SUM, kind, linkname[:_MAX_NAME], b"ustar\00000", b"", b"", b"%07o" % device[0], b"%07o" % device[1], b""),
    )
    block = _HEADER.pack(*fields)
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])

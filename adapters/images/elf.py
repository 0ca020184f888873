"""Which files a program needs, read from the files themselves as the dynamic loader would (ELF, ld.so(8)).

Nothing is executed: ``ldd`` runs the program it is asked about. Read are 64- and 32-bit little-endian files; the search goes
through DT_RPATH (unless there is a DT_RUNPATH), DT_RUNPATH, ``/etc/ld.so.cache``, then the default directories.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import msgspec

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 15, 29
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
DEFAULT_DIRECTORIES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


class NotElf(ValueError):
    """A file that is no ELF file of a kind that is read here."""


class Elf(msgspec.Struct, frozen=True):
    """What the loader looks at. ``kind`` is class and machine: libraries must have the same."""

    kind: tuple[int, int]
    interpreter: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]

    @property
    def is_static(self) -> bool:
        """Whether it runs without a loader and without libraries."""
        return not self.interpreter and not self.needed


class _Segment(msgspec.Struct, frozen=True):
    type: int
    offset: int
    address: int
    size: int


def parse_elf(data: bytes) -> Elf:
    """Returns what an ELF file asks of the loader; raises `NotElf`."""
    if data[:4] != b"\x7fELF" or len(data) < 64 or data[4] not in (1, 2) or data[5] != 1:
        raise NotElf("not a little-endian ELF file")
    is_64 = data[4] == 2
    try:
        segments = _segments(data, is_64)
        interpreter = next((_text(data, item.offset) for item in segments if item.type == _PT_INTERP), "")
        tags = _dynamic(data, segments, is_64)
    except (struct.error, ValueError, OverflowError, StopIteration) as error:
        raise NotElf("damaged ELF file") from error
    return Elf(
        (data[4], struct.unpack_from("<H", data, 18)[0]),
        interpreter,
        tuple(text for tag, text in tags if tag == _DT_NEEDED),
        tuple(part for tag, text in tags if tag == _DT_RPATH for part in text.split(":")),
        tuple(part for tag, text in tags if tag == _DT_RUNPATH for part in text.split(":")),
    )


def _segments(data: bytes, is_64: bool) -> list[_Segment]:
    start = struct.unpack_from("<Q" if is_64 else "<I", data, 32 if is_64 else 28)[0]
    size, count = struct.unpack_from("<HH", data, 54 if is_64 else 42)
    found = []
    for index in range(count):
        at = start + index * size
        if is_64:
            kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from("<IIIII", data, at)
        found.append(_Segment(kind, offset, address, length))
    return found


def _dynamic(data: bytes, segments: list[_Segment], is_64: bool) -> list[tuple[int, str]]:
    dynamic = next((item for item in segments if item.type == _PT_DYNAMIC), None)
    if dynamic is None:
        return []
    entry = struct.Struct("<qQ" if is_64 else "<iI")
    pairs: list[tuple[int, int]] = []
    for at in range(dynamic.offset, dynamic.offset + dynamic.size, entry.size):
        tag, value = entry.unpack_from(data, at)
        if tag == _DT_NULL:
            break
        pairs.append((tag, value))
    strings = next((value for tag, value in pairs if tag == _DT_STRTAB), None)
    if strings is None:
        return []
    base = _offset_of(strings, segments)
    return [(tag, _text(data, base + value)) for tag, value in pairs if tag in (_DT_NEEDED, _DT_RPATH, _DT_RUNPATH)]


def _offset_of(address: int, segments: list[_Segment]) -> int:
    load = next(item for item in segments if item.type == _PT_LOAD and item.address <= address < item.address + item.size)
    return address - load.address + load.offset


def _text(data: bytes, at: int) -> str:
    return os.fsdecode(data[at : data.index(b"\0", at)])


def parse_ld_cache(data: bytes) -> dict[str, list[str]]:
    """Returns the paths of each library name in ``/etc/ld.so.cache``; empty for a format that is not known."""
    start = data.find(_CACHE_MAGIC)
    if start < 0:
        return {}
    found: dict[str, list[str]] = {}
    count = struct.unpack_from("<I", data, start + 20)[0]
    for index in range(count):
        _, key, value, _, capabilities = struct.unpack_from("<iIIIQ", data, start + 48 + index * 24)
        # Variants for special processors are left out: the image may run on another one.
        if capabilities == 0:
            found.setdefault(_text(data, start + key), []).append(_text(data, start + value))
    return found


class Loader:
    """Finds libraries as this machine's loader does."""

    def __init__(self) -> None:
        cache = Path("/etc/ld.so.cache")
        self._cache = parse_ld_cache(cache.read_bytes()) if cache.exists() else {}

    def closure(self, program: str) -> dict[str, bytes]:
        """Returns the path and content of every library, and of the loader, that ``program`` needs.

        Raises `FileNotFoundError` if one of them is not on this machine, `NotElf` for a file of another kind.
        """
        first = parse_elf(Path(program).read_bytes())
        found: dict[str, bytes] = {}
        if first.interpreter:
            found[first.interpreter] = Path(first.interpreter).read_bytes()
        pending = [(program, first, name) for name in first.needed]
        while pending:
            origin, user, name = pending.pop()
            path, data = self._find(origin, user, name)
            if path not in found:
                found[path] = data
                library = parse_elf(data)
                pending += [(path, library, needed) for needed in library.needed]
        return found

    def _find(self, origin: str, user: Elf, name: str) -> tuple[str, bytes]:
        directories = (*(() if user.runpath else user.rpath), *user.runpath)
        here = str(Path(origin).parent)
        own = [f"{text.replace('$ORIGIN', here).replace('${ORIGIN}', here)}/{name}" for text in directories if text]
        default = [f"{directory}/{name}" for directory in DEFAULT_DIRECTORIES]
        for path in [*own, *self._cache.get(name, ()), *default] if "/" not in name else [name]:
            try:
                data = Path(path).read_bytes()
                if parse_elf(data).kind == user.kind:
                    return path, data
            except (OSError, NotElf):
                continue  # the loader, too, goes on to the next place
        raise FileNotFoundError(2, f"needed by {origin} and not found", name)

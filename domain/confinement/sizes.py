"""Sizes as Docker's options and ``--tmpfs``, ``--log-opt`` take them: ``64m``, ``1.5GB``, ``10 KiB``; every unit is binary."""

from __future__ import annotations

from docket.domain.errors import InvalidArgument, Rejected

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_LARGEST = (1 << 63) - 1
_LONGEST = 40


def parse_size(text: str) -> int:
    """Bytes, rounded down. Raises `Rejected`: ``invalid size: 'abc'``."""
    number, factor = _split(text.lower())
    whole, dot, fraction = number.partition(".")
    parts = (whole, fraction) if dot else (whole,)
    if len(text) > _LONGEST or not factor or not all(part.isascii() and part.isdigit() for part in parts):
        raise _invalid(text)
    size = int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if dot else 0)
    if size > _LARGEST:
        raise _invalid(text)
    return size


def _split(text: str) -> tuple[str, int]:
    """The number, and what its unit multiplies it by; 0 for a unit that is none. One blank may stand between the two."""
    number = text.rstrip("bikmgtp")
    unit = text[len(number) :]
    if unit == "b":
        unit = ""
    elif unit[1:] in ("", "b", "ib"):
        unit = unit[:1]
    return number.removesuffix(" "), _UNITS.get(unit, 0)


def _invalid(text: str) -> Rejected:
    return Rejected(InvalidArgument(f"invalid size: '{ascii(text[:_LONGEST])[1:-1]}'"))

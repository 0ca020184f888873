"""Durations in Go's notation, ``1h30m``, ``1.5s``, ``-10ms`` (time.ParseDuration), as the Engine API's texts hold them."""

from __future__ import annotations

from docket.domain.errors import InvalidArgument, Rejected

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LARGEST = (1 << 63) - 1
_LONGEST = 100
_NUMERIC = frozenset("0123456789.")


def parse_duration(text: str) -> int:
    """Nanoseconds. Raises `Rejected` in Go's words."""
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0
    if not body or len(text) > _LONGEST:
        raise _invalid(text)
    total, at = 0, 0
    while at < len(body):
        number, unit, at = _next(body, at)
        total += _nanoseconds(number, unit, text)
    if total > _LARGEST:
        raise _invalid(text)
    return -total if text.startswith("-") else total


def _next(body: str, at: int) -> tuple[str, str, int]:
    """The number and the unit that begin at ``at``, and where they end."""
    start = at
    while at < len(body) and body[at] in _NUMERIC:
        at += 1
    middle = at
    while at < len(body) and body[at] not in _NUMERIC:
        at += 1
    return body[start:middle], body[middle:at], at


def _nanoseconds(number: str, unit: str, text: str) -> int:
    if number.count(".") > 1 or not number.strip("."):
        raise _invalid(text)
    if not unit:
        raise Rejected(InvalidArgument(f"time: missing unit in duration {_shown(text)}"))
    if unit not in _UNITS:
        raise Rejected(InvalidArgument(f"time: unknown unit {_shown(unit)} in duration {_shown(text)}"))
    whole, _, fraction = number.partition(".")
    factor = _UNITS[unit]
    return int(whole or "0") * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)


def _shown(text: str) -> str:
    return '"' + ascii(text[:_LONGEST])[1:-1] + '"'


def _invalid(text: str) -> Rejected:
    return Rejected(InvalidArgument(f"time: invalid duration {_shown(text)}"))

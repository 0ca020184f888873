"""``WWW-Authenticate``: what a registry wants to see (RFC 9110, section 11; the token part is the Distribution project's)."""

from __future__ import annotations

import re

import msgspec

_MAX_HEADER = 4096
_PART = re.compile(r'[ \t,]*(?:([A-Za-z]+)[ \t]+)?([A-Za-z_]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_BARE = re.compile(r"[ \t,]*([A-Za-z]+)[ \t]*(?:,|\Z)")


class Challenge(msgspec.Struct, frozen=True):
    """``scheme`` is in lower case: ``basic`` or ``bearer``."""

    scheme: str
    parameters: dict[str, str] = {}


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges in the header; what cannot be read ends the list."""
    found: list[Challenge] = []
    position = 0
    if len(header) > _MAX_HEADER:
        return found
    while position < len(header):
        match = _PART.match(header, position)
        if match is None:
            bare = _BARE.match(header, position)
            if bare is None:
                break
            found.append(Challenge(bare[1].lower()))
            position = bare.end()
            continue
        scheme, name, quoted, token = match.groups()
        if scheme:
            found.append(Challenge(scheme.lower(), {}))
        if not found:
            break
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
        found[-1].parameters.setdefault(name.lower(), value)
        position = match.end()
    return found

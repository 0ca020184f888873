"""Digests: the names of content, validated before any use (S25).

docket stores and reads SHA-256 only. A digest that came from outside becomes a `Digest` through `parse_digest`, and only a
`Digest` may become part of a path, an address or an event. Lower case, exact length, nothing before or after.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, NewType

import msgspec

Digest = NewType("Digest", str)
"""A validated digest, ``sha256:`` and 64 lower-case hexadecimal digits."""

DigestField = Annotated[Digest, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
"""The type of a struct's field that holds a digest: msgspec refuses anything else while it decodes."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_SHAPE = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}", re.ASCII)
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}


class InvalidDigest(ValueError):
    """A text that was to name content and is no digest that docket takes."""


def parse_digest(text: str) -> Digest:
    """Returns ``text`` as a digest of stored content; raises `InvalidDigest` unless it is exactly one, in SHA-256."""
    if _DIGEST.fullmatch(text):
        return Digest(text)
    if len(text) > 256 or not _SHAPE.fullmatch(text):
        raise InvalidDigest("invalid checksum digest format")
    algorithm, _, digits = text.partition(":")
    if algorithm not in _HEX_DIGITS:
        raise InvalidDigest("unsupported digest algorithm")
    if len(digits) != _HEX_DIGITS[algorithm]:
        raise InvalidDigest("invalid checksum digest length")
    if digits != digits.lower():
        raise InvalidDigest("invalid checksum digest format")
    raise InvalidDigest(f"unsupported digest algorithm {algorithm}: content is stored under sha256 only")


def digest_of(data: bytes) -> Digest:
    """Returns the SHA-256 digest of ``data``."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def hex_of(digest: Digest) -> str:
    """Returns the 64 hexadecimal digits of ``digest``, for file names; raises `InvalidDigest` if it was never validated."""
    return parse_digest(digest)[7:]

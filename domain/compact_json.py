"""JSON for processes that must start fast and stay small: the C scanner and encoder of CPython without the ``json`` package.

``json`` imports ``re``; this imports only the accelerator module behind it. Launcher, shim and CLI use it.
"""

from __future__ import annotations

from typing import Any


class _Settings:
    """What the scanner reads its options from."""

    strict = True
    memo: dict[str, str] = {}
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    parse_string = None
    parse_object = None
    parse_array = None


def _make() -> tuple[Any, Any]:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    def refuse(value: object) -> object:
        raise TypeError(f"{type(value).__name__} has no JSON form")

    encoder = make_encoder({}, refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
    settings: Any = _Settings()
    return make_scanner(settings), encoder


_scan, _encode = _make()


def loads(text: str) -> Any:
    """Decode one JSON value. Raises `ValueError`."""
    start = len(text) - len(text.lstrip())
    try:
        value, end = _scan(text, start)
    except StopIteration:
        raise ValueError("not a JSON value") from None
    if text[end:].strip():
        raise ValueError("more than one JSON value")
    return value


def dumps(value: object) -> str:
    """Encode a value of dicts, lists, tuples, strings, numbers, booleans and None."""
    return "".join(_encode(value, 0))

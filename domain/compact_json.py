"""JSON for processes that must start fast and stay small: the C scanner and encoder of CPython without the ``json`` package.

``json`` imports ``re``, which costs 7 ms; this imports only the accelerator module behind it. Launcher, shim and CLI use it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WHITESPACE = " \t\n\r"


class _Context:
    """What the C scanner asks of its decoder."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"invalid JSON: {name}")


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _make() -> tuple[Any, Any]:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    context: Any = _Context
    return make_scanner(context), make_encoder({}, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)


_scan, _encode = _make()


def loads(text: str | bytes) -> Any:
    """The value that ``text`` holds. Raises `ValueError` when it is not exactly one JSON value."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = text.strip(_WHITESPACE)
    try:
        value, end = _scan(text, 0)
    except (StopIteration, SystemError, ValueError):
        # The scanner of CPython 3.11 looks for `json.decoder` to describe what is wrong, and fails when nobody has imported it.
        raise ValueError("invalid JSON") from None
    except RecursionError:
        raise ValueError("invalid JSON: nested too deeply") from None
    if end != len(text):
        raise ValueError("invalid JSON: more data after the value")
    return value


def dumps(value: object) -> str:
    """Encode a value of dicts, lists, tuples, strings, numbers, booleans and None, in ASCII and without blanks."""
    return "".join(_encode(value, 0))

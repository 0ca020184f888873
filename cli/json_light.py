"""JSON by the C scanner and encoder alone: importing `json` costs 7 ms, because it imports `re`.

`loads` takes and `dumps` gives what `json` would. `dumps` leaves out the blanks between items and keeps characters beyond
ASCII, except those that a terminal would act on: these are written as `\\uXXXX`, so JSON on a terminal is always harmless (S55).
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder, make_scanner

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


_scan = make_scanner(_Context)  # type: ignore[arg-type]


def loads(text: str | bytes) -> Any:
    """The value that `text` holds; raises ValueError when it is not exactly one JSON value."""
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


def _quote(text: str) -> str:
    quoted: str = encode_basestring(text)
    if quoted.isprintable():
        return quoted
    return "".join(char if char.isprintable() else _escape(char) for char in quoted)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def _unknown(value: object) -> Any:
    raise TypeError(f"cannot be written as JSON: {value!r}")


_encode = make_encoder(None, _unknown, _quote, None, ":", ",", False, False, False)
_encode_sorted = make_encoder(None, _unknown, _quote, None, ":", ",", True, False, False)


def dumps(value: Any, sort_keys: bool = False) -> str:
    """`value` as JSON on one line, without blanks."""
    return "".join((_encode_sorted if sort_keys else _encode)(value, 0))


def dumps_indented(value: Any, indent: str = "    ", margin: str = "") -> str:
    """`value` as JSON over several lines, as Docker prints it: empty lists and objects stay `[]` and `{}`."""
    inner = margin + indent
    if isinstance(value, dict) and value:
        items = [f"{inner}{_quote(str(key))}: {dumps_indented(item, indent, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + dumps_indented(item, indent, inner) for item in value) + f"\n{margin}]"
    return dumps(value)

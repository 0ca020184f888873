"""JSON for people to read: characters beyond ASCII stay, except those that a terminal would act on.

These are written as `\\uXXXX`, so JSON on a terminal is always harmless (S55). What is read comes by `docket.domain.compact_json`.
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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

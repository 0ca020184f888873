"""Strings from the engine made safe for a terminal (S55).

Names, labels, error messages and log fields can hold what an attacker put there: escape sequences that move the cursor,
retitle the window or answer back into the keyboard buffer, and bidirectional overrides that make text read differently. Every
string from the engine that the CLI lays out itself passes through here. The output of containers does not: it is theirs.
"""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """`text` with each character that is not printable as a visible escape; those in `keep` (such as a newline) stay."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or char.isprintable() else _escape(char) for char in text)


def printable_text(text: str) -> str:
    """As `printable`, for text of several lines: newlines and tabs stay."""
    return printable(text, "\n\t")


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

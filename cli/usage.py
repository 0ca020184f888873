"""Help texts, laid out as Docker's: usage line, summary, aliases, flags in two columns wrapped to the terminal's width."""

from __future__ import annotations

import os

from docket.cli.values import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.options import Command

_DEFAULTLESS = ("", 0, False, None, ())


def width() -> int:
    """Columns to fill: the terminal's, or 80."""
    try:
        return max(40, os.get_terminal_size(1).columns)
    except OSError:
        return 80


def command_help(command: Command) -> str:
    """The whole help of one command."""
    parts = [f"Usage:  {command.usage_line()}", command.summary]
    if command.aliases:
        parts.append("Aliases:\n  " + ", ".join(command.aliases))
    if command.flags:
        parts.append("Options:\n" + flag_table(command.flags, width()))
    return "\n\n".join(parts) + "\n"


def flag_table(flags: tuple[tuple[str, str, str, Any, str], ...], columns: int) -> str:
    """Flags in alphabetical order with their meanings, wrapped to `columns`."""
    rows = []
    for name, short, kind, default, usage in sorted(flags):
        left = f"  {'-' + short + ',' if short else '   '} --{name}"
        label = KINDS[kind].label
        shown = (
            ""
            if default in _DEFAULTLESS
            else f' (default "{default}")'
            if isinstance(default, str)
            else f" (default {_default(default)})"
        )
        rows.append((f"{left} {label}" if label else left, usage + shown))
    edge = max(len(left) for left, _ in rows) + 3
    lines = []
    for left, text in rows:
        wrapped = _wrap(text, max(24, columns - edge))
        lines.append(left.ljust(edge) + wrapped[0])
        lines += [" " * edge + line for line in wrapped[1:]]
    return "\n".join(lines)


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrap(text: str, columns: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > columns:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def command_list(rows: list[tuple[str, str]]) -> str:
    """Names and summaries in two columns."""
    edge = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"  {name.ljust(edge)}{summary}" for name, summary in rows)

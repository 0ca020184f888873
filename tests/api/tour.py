"""Terminal sessions in the documents: taking them apart, and comparing them with what really comes out.

A session is an indented block of `$ command` lines, each followed by what it prints. In that output `…` stands for anything: within
a line for the rest or a piece of it, alone on a line for any number of lines. What differs from run to run (ids, times, ages, pids,
counts, generated names, the width of columns) need not be equal but must have the right form; an id or a position must stand for
the same thing wherever it appears.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_INDENT = "    "
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# What a document's line is made of. The named kinds stand for their like; all else stands for itself.
_TOKEN = re.compile(
    r"(?P<id>\b(?:[0-9a-f]{64}|[0-9a-f]{12}|[0-9a-f]{8})\b)"
    r"|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+)"
    rf"|(?P<date>[A-Z][a-z][a-z] (?:{_MONTHS}) [ \d]\d \d\d:\d\d:\d\d UTC \d{{4}})"
    r"|(?P<age>Less than a second|About a minute|\d+ (?:seconds?|minutes?))"
    r"|(?P<position>\A\d+(?= +\d{4}-))"
    r"|(?P<number>\b(?<=pid=)\d+|(?<=position )\d+|\d+(?= events))"
    r"|(?P<name>(?<=name=)[a-z]+_[a-z]+)"
    r"|(?P<any>…)|(?P<space> +)|(?P<word>[^\s…]|\s)"
)
_FORMS = {
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+",
    "date": rf"[A-Z][a-z][a-z] (?:{_MONTHS}) [ \d]\d \d\d:\d\d:\d\d UTC \d{{4}}",
    "age": r"(?:Less than a second|About a minute|\d+ (?:seconds?|minutes?))",
    "number": r"\d+",
    "name": r"[a-z]+_[a-z]+",
    "any": r".*",
    "space": r" +",
}


@dataclass
class Step:
    """One command of a session, and the lines that it prints."""

    command: str
    output: list[str] = field(default_factory=list)


def steps(markdown: str, heading: str) -> list[Step]:
    """The commands of every session below a heading, up to the next heading of its level."""
    found: list[Step] = []
    for line in _section(markdown, heading):
        if line.startswith(f"{_INDENT}$ "):
            found.append(Step(line.removeprefix(f"{_INDENT}$ ")))
        elif line.startswith(_INDENT) and found:
            found[-1].output.append(line.removeprefix(_INDENT))
    return found


def _section(markdown: str, heading: str) -> Iterator[str]:
    level = heading.split(" ", 1)[0] + " "
    inside = False
    for line in markdown.splitlines():
        if line.startswith(level):
            inside = line == heading
        elif inside:
            yield line


class Comparison:
    """Compares outputs with the document's; remembers which real id and position stand for those of the document."""

    def __init__(self) -> None:
        self._stands_for: dict[str, str] = {}

    def command(self, command: str) -> str:
        """The document's command with the real positions in it."""
        return re.sub(r"(?<=--at )\d+", lambda found: self._stands_for.get(f"position {found[0]}", found[0]), command)

    def agrees(self, step: Step, output: str) -> bool:
        """Whether the output is what the document shows for this step."""
        wanted: list[str] = []
        pattern = "".join(_pattern(line, wanted) for line in step.output)
        lines = _in_the_order_of(step, [line.rstrip() for line in output.splitlines()])
        match = re.search(rf"\A{pattern}\Z", "".join(f"{line}\n" for line in lines))
        if match is None:
            return False
        pairs = dict(self._stands_for)
        for name, real in zip(wanted, match.groups(), strict=True):
            real = real if name.startswith("position") else real[:12]
            if pairs.setdefault(name, real) != real:
                return False
        self._stands_for = pairs
        return True


def _pattern(line: str, wanted: list[str]) -> str:
    """A regular expression for one line; what its groups must stand for is added to ``wanted``."""
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    parts = []
    for token in _TOKEN.finditer(line.rstrip()):
        kind, text = token.lastgroup or "word", token[0]
        if kind == "id":
            wanted.append(text[:12])
            parts.append(rf"([0-9a-f]{{{len(text)}}})")
        elif kind == "position":
            wanted.append(f"position {text}")
            parts.append(r"(\d+)")
        else:
            parts.append(_FORMS.get(kind) or re.escape(text))
    return "".join(parts) + r"\n"


def _in_the_order_of(step: Step, lines: list[str]) -> list[str]:
    """The rows of one container's log in the document's order: the end of a process may be seen before its kill is noted."""
    if not step.command.startswith("docket log --container"):
        return lines
    order = {_event(line): place for place, line in enumerate(step.output)}
    return sorted(lines, key=lambda line: order.get(_event(line), -1))


def _event(row: str) -> str:
    words = row.split()
    return words[3] if len(words) > 3 else ""

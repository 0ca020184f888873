"""docs/events.md is the catalogue of events; run this module as a program to write it anew."""

from __future__ import annotations

import inspect
from pathlib import Path

import msgspec

from docket.domain.model.state import EVENT_TYPES

_CATALOGUE = Path(__file__).parents[3] / "docs" / "events.md"
_HEAD = """# The events

Every event type that the log can hold, by stream. An event's data are the fields below; the log adds position, version, time,
job, causation, actor and hash. A type never changes its meaning: a new shape is a new `schema` number, and an upcaster reads
the old one. This page is checked by a test.
"""


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    noun = ""
    for kind in EVENT_TYPES:
        if kind.__module__.split(".")[-2] != noun:
            noun = kind.__module__.split(".")[-2]
            parts.append(f"\n## {noun}\n")
        meaning = inspect.cleandoc(kind.__doc__ or "").replace("\n", " ") if "__doc__" in vars(kind) and kind.__doc__ else ""
        fields = ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(kind))
        version = f" (schema {kind.schema})" if kind.schema != 1 else ""
        parts.append(f"- **{kind.__name__}**{version}: {fields}.{' ' + meaning if meaning else ''}")
    return "\n".join(parts) + "\n"


def test_the_catalogue_is_complete() -> None:
    """Who reads a log finds each of its types explained."""
    assert _CATALOGUE.read_text(encoding="utf-8") == render()


if __name__ == "__main__":
    _CATALOGUE.write_text(render(), encoding="utf-8")

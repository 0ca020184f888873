"""Reads the shapes of events that older versions of docket wrote.

Rules:
- A type never changes its meaning. A new shape gets the next number in ``Event.schema`` and an entry in `UPCASTERS`
  from the number before; entries are never removed, so a log written by any released version opens for ever.
- An upcaster maps the plain JSON object of one shape to that of the next, reads nothing else and invents nothing: a field
  that did not exist gets the value that was in force then (hazard 60), pinned in the upcaster, not the class's default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the object of one shape and returns that of the next."""

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""From (type name, schema) to what reads it as schema + 1. Empty: every type still has its first shape."""


def upcast(
    upcasters: Mapping[tuple[str, int], Upcaster], name: str, schema: int, current: int, data: dict[str, Any]
) -> dict[str, Any]:
    """Bring ``data`` from shape ``schema`` to shape ``current``, one step after the other."""
    for step in range(schema, current):
        data = upcasters[name, step](data)
    return data

"""Whether an answer has the shape that the Engine API's description gives it (``shapes.txt``).

The description is looser than what clients get from dockerd: it calls hardly anything required, and says of few fields that they
may be null. What differs is therefore listed in the test, by path, and anything beyond that list is a finding.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "map": dict,
}
_NESTED = re.compile(r"[.\[{]")

Shape = dict[str, tuple[str, ...]]


def read_shapes() -> dict[str, Shape]:
    """Every kind of answer: the type and flags by path."""
    shapes: dict[str, Shape] = {}
    for line in Path(__file__).with_name("shapes.txt").read_text().splitlines():
        if not line.startswith("#"):
            kind, path, *told = line.split()
            shapes.setdefault(kind, {})[path.removeprefix(".")] = tuple(told)
    return shapes


def findings(shape: Shape, value: Any, path: str = "") -> set[str]:
    """What is unlike the shape: ``missing P``, ``unknown P``, ``null P``, ``type P``."""
    kind, *flags = shape[path]
    if value is None:
        return set() if "null" in flags else {f"null {path}"}
    expected = _TYPES.get(kind)
    if expected is not None and (not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean")):
        return {f"type {path}"}
    if kind == "object":
        return _of_object(shape, value, path)
    if kind == "array":
        return {found for each in value for found in findings(shape, each, f"{path}[]")}
    if kind == "map":
        return {found for each in value.values() for found in findings(shape, each, f"{path}{{}}")}
    return set()


def _of_object(shape: Shape, value: dict[str, Any], path: str) -> set[str]:
    start = f"{path}." if path else ""
    declared = {
        name for full in shape if full.startswith(start) and (name := full.removeprefix(start)) and not _NESTED.search(name)
    }
    found = {f"unknown {start}{name}" for name in value.keys() - declared}
    found |= {f"missing {start}{name}" for name in declared - value.keys() if "null" not in shape[f"{start}{name}"][1:]}
    for name in value.keys() & declared:
        found |= findings(shape, value[name], f"{start}{name}")
    return found

"""The targets, by name. Each one's module is imported only when it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from tests.fuzz.mutation import Mutate


class Target(NamedTuple):
    """``run`` returns for an answer or a documented refusal and raises for anything else; ``watched`` guides the campaign."""

    name: str
    watched: tuple[str, ...]
    seeds: Callable[[], list[bytes]]
    run: Callable[[bytes], None]
    mutate: Mutate


_MODULES = {
    "http": "http",
    "api": "api",
    "references": "texts",
    "mounts": "mounts",
    "recordings": "records",
    "logs": "records",
    "archives": "archives",
    "loads": "loads",
    "registry": "loads",
    "filters": "texts",
    "templates": "texts",
    "documents": "documents",
    "json": "documents",
}


def names() -> tuple[str, ...]:
    """Every target."""
    return tuple(_MODULES)


def find(name: str) -> Target:
    """The target of that name. Raises KeyError."""
    module = import_module(f"tests.fuzz.targets.{_MODULES[name]}")
    target: Target = module.TARGETS[name]
    return target

"""The filters of ``GET /containers/json``, as Docker means them."""

from __future__ import annotations

import re
from collections.abc import Callable

from docket.adapters.api.container_json import shown_status
from docket.domain.engine import Engine
from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.model.container.state import Container

KNOWN = frozenset(
    "ancestor before exited expose health id is-task isolation label name network publish since status volume".split()
)
_STATUSES = frozenset("created restarting running removing paused exited dead".split())
_HEALTH = frozenset("none starting healthy unhealthy".split())
_EVERY = frozenset({"label"})
"""Filters whose values must all hold; of the others one is enough."""
_MOST_STARS = 3
_SPECIAL = re.compile(r"[\\\[\](){}|+*?^$]")

Filters = dict[str, tuple[str, ...]]
Test = Callable[[Container], bool]


def container_test(engine: Engine, filters: Filters) -> Test:
    """Whether a container passes all filters. Raises `Rejected` for values that no container can have."""
    groups = []
    for name, values in filters.items():
        tests = [_test(engine, name, value) for value in values]
        groups.append((all if name in _EVERY else any, tests))
    return lambda container: all(combine(test(container) for test in tests) for combine, tests in groups)


def label_test(asked: str) -> Callable[[dict[str, str]], bool]:
    """``name`` or ``name=value``."""
    name, equals, value = asked.partition("=")
    return lambda labels: name in labels and (not equals or labels[name] == value)


def _test(engine: Engine, name: str, value: str) -> Test:
    if name in {"before", "since"}:
        other = engine.container(value).created_ns
        return (lambda each: each.created_ns < other) if name == "before" else (lambda each: each.created_ns > other)
    if name == "label":
        has = label_test(value)
        return lambda each: has(each.spec.labels)
    if name == "name":
        pattern = name_pattern(value)
        return lambda each: any(pattern.search(form) for form in (each.name, f"/{each.name}"))
    if (name == "status" and value not in _STATUSES) or (name == "health" and value not in _HEALTH):
        raise Rejected(InvalidArgument(f"invalid filter '{name}={value}'"))
    return _plain_test(name, value)


def _plain_test(name: str, value: str) -> Test:
    tests: dict[str, Test] = {
        "id": lambda each: each.id.startswith(value),
        "status": lambda each: shown_status(each) == value,
        "exited": lambda each: str(each.exit_code) == value and shown_status(each) == "exited",
        "ancestor": lambda each: value in (each.spec.image, each.image_id, each.image_id.removeprefix("sha256:")[:12]),
        "network": lambda each: value in (each.spec.network, each.spec.asked_network),
        "volume": lambda each: any(value in (mount.source, mount.target) for mount in each.spec.mounts),
        "expose": lambda each: value in each.spec.exposed_ports or f"{value}/tcp" in each.spec.exposed_ports,
        # What this engine does not have, no container has.
        "health": lambda each: value == "none",
        "is-task": lambda each: value.lower() not in {"1", "true"},
        "publish": lambda each: False,
        "isolation": lambda each: value in {"", "default"},
    }
    return tests[name]


def name_pattern(asked: str) -> re.Pattern[str]:
    """Docker's name filter is a regular expression; of those ``^``, ``$``, ``.``, ``.*`` and ``/?`` are understood here.

    Python's matcher can take for ever over others. Raises `Rejected` for them.
    """
    start, body = (r"\A", asked[1:]) if asked.startswith("^") else ("", asked)
    end, body = (r"\Z", body[:-1]) if body.endswith("$") and not body.endswith(r"\$") else ("", body)
    optional, body = ("/?", body[2:]) if body.startswith("/?") else ("", body)
    parts = body.replace(r"\.", "\0").split(".*")
    if len(parts) > _MOST_STARS + 1 or any(_SPECIAL.search(part) for part in parts):
        raise Rejected(InvalidArgument(f"invalid filter 'name={asked}': only ^ $ . .* and /? have a meaning in it"))
    pieces = [re.escape(part).replace(r"\.", ".").replace("\0", r"\.").replace("\\\0", r"\.") for part in parts]
    return re.compile(start + optional + ".*".join(pieces) + end)

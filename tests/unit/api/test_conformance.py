"""docs/conformance.md speaks of every route that there is."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import MagicMock

from docket.adapters.api.routes import router

DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"


def test_every_route_is_documented_and_no_other() -> None:
    """The table of endpoints is the table of routes."""
    routes = {(route.method, route.template.replace(":path", "")) for route in router(MagicMock(), MagicMock()).routes}
    documented = set()
    for methods, path in re.findall(r"^\| `([A-Z, ]+) (/[^`]*)` \|", DOCUMENT.read_text(), re.MULTILINE):
        documented |= {(method.strip(), path) for method in methods.split(",")}
    assert documented == routes

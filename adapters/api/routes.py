"""The whole route table."""

from __future__ import annotations

from docket.adapters.api import containers, exec, images, system
from docket.adapters.http import Router
from docket.domain.engine import Engine


def router(engine: Engine) -> Router:
    """Every route that there is, over one engine."""
    return Router([*system.routes(engine), *containers.routes(engine), *exec.routes(engine), *images.routes(engine)])

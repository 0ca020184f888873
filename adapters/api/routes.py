"""The whole route table."""

from __future__ import annotations

from docket.adapters.api import containers, event_messages, exec, history, images, stats, system
from docket.adapters.http import Router
from docket.domain.engine import Engine


def router(engine: Engine, explain: history.Explain) -> Router:
    """Every route that there is, over one engine. ``explain`` prints a plan for people."""
    return Router(
        [
            *system.routes(engine),
            *containers.routes(engine),
            *event_messages.routes(engine),
            *stats.routes(engine),
            *exec.routes(engine),
            *images.routes(engine),
            *history.routes(engine, explain),
        ]
    )

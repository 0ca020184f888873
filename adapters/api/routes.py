"""The whole route table."""

from __future__ import annotations

from docket.adapters.api import (
    archives,
    commit,
    container_files,
    containers,
    event_messages,
    exec,
    history,
    images,
    registry,
    stats,
    system,
    why,
)
from docket.adapters.http import Router
from docket.domain.engine import Engine


def router(engine: Engine, kernel: history.KernelHistory) -> Router:
    """Every route that there is, over one engine. ``kernel`` tells of recordings."""
    return Router(
        [
            *system.routes(engine),
            *containers.routes(engine),
            *container_files.routes(engine),
            *commit.routes(engine),
            *event_messages.routes(engine),
            *stats.routes(engine),
            *exec.routes(engine),
            *registry.routes(engine),
            *archives.routes(engine),
            *images.routes(engine),
            *history.routes(engine, kernel),
            *why.routes(engine),
        ]
    )

"""Which job the running task belongs to, for whoever keeps a record of what is done for it.

Each task has its own: a job that is run, or one of the engine's own (``watch``, ``recover``). A task that was started by a job
begins as that job, and says so when it is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any


class Running:
    """A job while it runs."""

    __slots__ = ("arguments", "id", "kept", "name", "position", "request")

    def __init__(self, id: str, name: str, arguments: tuple[str, ...], request: Any, position: Callable[[], int]) -> None:
        self.id = id
        self.name = name
        self.arguments = arguments
        self.request = request
        self.position = position
        """The position of the last event that the engine has folded."""
        self.kept: Any = None
        """Whatever the one who keeps the record needs for it."""


RUNNING: ContextVar[Running | None] = ContextVar("docket_running_job", default=None)
"""The job of the running task; None for what no job asked for."""

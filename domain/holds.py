"""Holds on containers whose files are being copied while they do not run.

Their root is mounted meanwhile by the engine itself, so a start, and a removal, wait for the end of it: the same writable layer
must not be under two mounts that are written through. A hold is not in the log; it ends with the engine, and the mount too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Holds:
    """Who is held, and how often."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._freed: dict[str, trio.Event] = {}

    @contextmanager
    def held(self, container: str) -> Iterator[None]:
        """The container neither starts nor is removed within."""
        self._held[container] = self._held.get(container, 0) + 1
        try:
            yield
        finally:
            self._held[container] -= 1
            if not self._held[container]:
                del self._held[container]
                self._freed.pop(container, trio.Event()).set()

    async def free(self, container: str) -> None:
        """Wait until nobody holds the container; at once, without a checkpoint, when nobody does."""
        while container in self._held:
            await self._freed.setdefault(container, trio.Event()).wait()

"""Clients that are on their way: answered, and not yet attached.

``docker run`` attaches, reads the answer's header, and starts the container at once. The header is out before the stream can be
handed over, so a start that did not wait for the client would let the container write to nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

_PATIENCE_SECONDS = 5
"""A client that was answered and stands still does not keep a container from starting."""


class Arrivals:
    """How many clients are on their way to each container."""

    def __init__(self) -> None:
        self._coming: Counter[str] = Counter()
        self._changed = trio.Event()

    @contextmanager
    def coming(self, container: str) -> Iterator[None]:
        """A client is on its way for as long as the context lasts."""
        self._coming[container] += 1
        try:
            yield
        finally:
            self._coming[container] -= 1
            if not self._coming[container]:
                del self._coming[container]
            self._changed.set()
            self._changed = trio.Event()

    async def arrived(self, container: str) -> None:
        """Wait until nobody is on the way, with some patience."""
        with trio.move_on_after(_PATIENCE_SECONDS):
            while self._coming[container]:
                await self._changed.wait()

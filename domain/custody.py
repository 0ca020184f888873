"""Who relies on blobs and layers that no event names yet, and when what nobody needs may be deleted.

A job that brings an image holds the custody together with others, from its first look at what is there until its event is in
the log. Deleting what no event speaks for needs it alone: it waits until nobody brings anything, and who comes meanwhile waits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Custody:
    """Shared by those who bring images, alone for the one who deletes."""

    def __init__(self) -> None:
        self._holders = 0
        self._alone = False
        self._changed = trio.Event()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Nothing is deleted within."""
        while self._alone:
            await self._changed.wait()
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            self._tell()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody brings an image within."""
        while self._alone or self._holders:
            await self._changed.wait()
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

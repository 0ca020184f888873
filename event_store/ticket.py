"""The receipt for a batch that was submitted and is not durable yet."""

from __future__ import annotations

import trio

from docket.domain.log import StoredEvent


class Ticket:
    """Stands for a batch on its way to the disk.

    ``events`` is known at once, since positions, versions and hashes are given out when a batch is submitted: fold them, but
    acknowledge nothing and act on nothing before `durable` has returned.
    """

    __slots__ = ("_error", "_event", "_settled", "events")

    def __init__(self, events: list[StoredEvent]) -> None:
        self.events = events
        self._settled = False
        self._error: Exception | None = None
        self._event: trio.Event | None = None

    async def durable(self) -> list[StoredEvent]:
        """Wait until the batch is on disk and give its events.

        Raises StoreFailed when the disk refused it; nothing of it was kept. Being cancelled here ends the waiting, not
        the append. Any number of tasks may wait.
        """
        if self._settled:
            await trio.lowlevel.checkpoint()
        else:
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        if self._error is not None:
            raise self._error
        return self.events

    def settle(self, error: Exception | None = None) -> None:
        """Let the waiting go on; called once, by the store, in trio's thread."""
        self._settled = True
        self._error = error
        if self._event is not None:
            self._event.set()

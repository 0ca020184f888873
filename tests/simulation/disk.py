"""A simulated disk under the log: what a crash leaves, and a store whose appends become durable some time later.

The process's death loses what was submitted and not written; a power cut loses the same, since a commit is one fsync. Blobs are
kept too: those that were not synced are gone after a power cut.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import trio
from tests.simulation.life import Life

from docket.domain.errors import StoreFailed
from docket.domain.log import Batch, Seal, StoredEvent
from docket.event_store.chain import GENESIS, Row, Sequencer
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore
from docket.event_store.reading import to_event
from docket.event_store.ticket import Ticket

_COMMIT_SECONDS = 0.004
_DEFERRED_SECONDS = 0.02


class Disk:
    """What outlives an engine."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.secrets: dict[str, bytes] = {}
        self.snapshots: dict[int, bytes] = {}
        self.recordings: dict[str, bytes] = {}
        self.seals: list[Seal] = []
        self.blobs: set[str] = set()
        self.unsynced: set[str] = set()
        self.contents: dict[str, bytes] = {}
        """The bytes of blobs that are read again."""
        self.acknowledged: dict[int, bytes] = {}
        """The hash of every event that somebody was told of, by position."""
        self.failing_commits = 0
        """So many commits are refused from now on, as a full disk does."""

    def cut_power(self) -> None:
        """Lose what was not synced."""
        self.blobs -= self.unsynced
        self.unsynced.clear()

    @property
    def digest(self) -> str:
        """The hash of the whole log."""
        return (self.rows[-1][-1] if self.rows else GENESIS).hex()


class SimulatedStore(MemoryEventStore):
    """The event log on a `Disk`: appends that come together share a commit, which takes a while."""

    def __init__(self, disk: Disk, codec: Codec, life: Life, dice: Random) -> None:
        super().__init__(codec)
        self._disk, self._life, self._dice = disk, life, dice
        self._rows, self._secrets = disk.rows, disk.secrets
        self._snapshots, self._recordings = disk.snapshots, disk.recordings
        self._seals = disk.seals
        self._versions = {row[1]: row[2] for row in disk.rows}
        position, digest = (disk.rows[-1][0], disk.rows[-1][-1]) if disk.rows else (0, GENESIS)
        self._sequencer = Sequencer(codec, lambda stream: self._versions.get(stream, 0), position, digest)
        self._queue: list[tuple[list[Row], Batch, Ticket]] = []
        self._committing = False
        self._newest: Ticket | None = None

    def submit(self, batch: Batch, *, deferred: bool = False) -> Ticket:
        """Place the batch; it is durable when a later commit is, and that comes later when it is ``deferred``."""
        self._check_open()
        rows, events = self._sequencer.place(batch)
        ticket = Ticket(events)
        self._queue.append((rows, batch, ticket))
        self._newest = ticket
        if deferred:
            trio.lowlevel.spawn_system_task(self._commit, _DEFERRED_SECONDS)
        elif not self._committing:
            self._committing = True
            trio.lowlevel.spawn_system_task(self._commit, _COMMIT_SECONDS * self._dice.random())
        return ticket

    async def _commit(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._committing = False
        if not self._life.dead:
            self.flush()

    async def settle(self) -> None:
        """Wait until what was submitted is durable or refused."""
        if self._newest is not None:
            with suppress(StoreFailed):
                await self._newest.durable()

    def flush(self) -> None:
        """One commit of everything that waits."""
        queue, self._queue = self._queue, []
        if queue and self._disk.failing_commits:
            self._disk.failing_commits -= 1
            self._refuse(queue)
            return
        for rows, batch, ticket in queue:
            self.take(batch)
            self._rows += rows
            self._versions.update((row[1], row[2]) for row in rows)
            self._secrets.update(batch.secrets)
            if rows:
                self._sequencer.made_durable(rows[-1][0], rows[-1][-1])
            ticket.settle()
            if self._hear is not None:
                self._hear(ticket.events)

    def _refuse(self, queue: list[tuple[list[Row], Batch, Ticket]]) -> None:
        self.generation += 1
        self._sequencer.fall_back()
        for _, _, ticket in queue:
            ticket.settle(StoreFailed("event log refused the append, nothing of it was kept: the simulated disk is full"))

    def secret(self, reference: str) -> bytes | None:
        """Submitted secrets count as well."""
        for _, batch, _ in self._queue:
            if reference in batch.secrets:
                return batch.secrets[reference]
        return super().secret(reference)

    def everything(self) -> list[StoredEvent]:
        """Durable events and those on their way."""
        waiting = [row for rows, _, _ in self._queue for row in rows]
        return [to_event(self._codec, row) for row in (*self._rows, *waiting)]

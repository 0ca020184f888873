"""`MemoryEventStore`: the event log without a disk, for tests and demonstrations on any operating system.

Places, checks and decodes exactly as `SqliteEventStore` does and passes the same contract suite. Everything is "durable" at
once, unless ``full`` is set: then it refuses appends as a full disk does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec
import trio

from docket.domain.errors import CorruptEvent, EventsDropped, StoreFailed
from docket.domain.log import Batch, Event, Fate, Seal, StoredEvent
from docket.event_store.chain import Row, Sequencer
from docket.event_store.codec import Codec
from docket.event_store.exchange import Beginning, export_log
from docket.event_store.reading import ChainChecker, to_event
from docket.event_store.report import VerifyReport
from docket.event_store.ticket import Ticket


class MemoryEventStore:
    """The event log in lists; see `docket.domain.ports.EventStore`. ``generation`` as in `SqliteEventStore`."""

    def __init__(self, codec: Codec) -> None:
        self.full = False
        self.generation = 0
        self._codec = codec
        self._rows: list[Row] = []
        self._versions: dict[str, int] = {}
        self._sequencer = Sequencer(codec, lambda stream: self._versions.get(stream, 0))
        self._secrets: dict[str, bytes] = {}
        self._snapshots: dict[int, bytes] = {}
        self._recordings: dict[str, bytes] = {}
        self._seals: list[Seal] = []
        self._closed = False
        self._hear: Callable[[Sequence[StoredEvent]], None] | None = None

    def submit(self, batch: Batch, *, deferred: bool = False) -> Ticket:
        """Place the batch and keep it; ``deferred`` makes no difference here.

        Raises VersionConflict, ValueError, and StoreFailed when the log is closed."""
        self._check_open()
        for reference in batch.secrets:
            if reference in self._secrets:
                raise ValueError(f"secret reference {reference} is in use")
        rows, events = self._sequencer.place(batch)
        ticket = Ticket(events)
        if self.full:
            self.generation += 1
            self._sequencer.fall_back()
            ticket.settle(StoreFailed("event log refused the append, nothing of it was kept: memory is declared full"))
            return ticket
        self.take(batch)
        self._rows += rows
        self._versions.update((row[1], row[2]) for row in rows)
        self._secrets.update(batch.secrets)
        if rows:
            self._sequencer.made_durable(rows[-1][0], rows[-1][-1])
        ticket.settle()
        if self._hear is not None:
            self._hear(events)
        return ticket

    def take(self, batch: Batch) -> None:
        """Do what a batch's transaction does beside appending."""
        self._snapshots.update(batch.folds)
        if batch.seal is not None:
            self._seals.append(batch.seal)
        for reference in batch.forgotten:
            self._secrets.pop(reference, None)
        if batch.drop_upto:
            self._seals[:] = [
                msgspec.structs.replace(seal, kept=seal.kept and seal.last > batch.drop_upto) for seal in self._seals
            ]

    async def append(self, batch: Batch) -> list[StoredEvent]:
        """Submit the batch and wait until it is durable. Raises as `submit` and `Ticket.durable` do."""
        return await self.submit(batch).durable()

    def listen(self, hear: Callable[[Sequence[StoredEvent]], None]) -> None:
        """Have each batch told to ``hear``, in the log's order."""
        self._hear = hear

    async def settle(self) -> None:
        """Nothing is ever on its way."""
        await trio.lowlevel.checkpoint()

    def save_snapshot(self, position: int, data: bytes) -> None:
        """Keep the fold of the events up to ``position``, when there is such an event."""
        self._check_open()
        if 1 <= position <= self.head() and not self.full:
            self._snapshots[position] = data

    def save_recording(self, job: str, data: bytes) -> None:
        """Keep a kernel recording (JSON lines); a job may have several."""
        self._check_open()
        if not self.full:
            self._recordings[job] = self._recordings.get(job, b"") + (data if data.endswith(b"\n") else data + b"\n")

    def forget(self, reference: str) -> bool:
        """Drop a secret; tell whether there was one."""
        self._check_open()
        return self._secrets.pop(reference, None) is not None

    def close(self) -> None:
        """Take no more appends. Calling it twice is fine."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("event log is closed")

    def head(self) -> int:
        """Give the position of the newest event; 0 in an empty log."""
        return len(self._rows)

    def read(
        self,
        after: int = 0,
        upto: int | None = None,
        *,
        stream: str | None = None,
        types: Sequence[str] | None = None,
        job: str | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]:
        """Yield events behind ``after``, in order; ``types`` are names. Raises CorruptEvent."""
        chosen = (
            row
            for row in self._kept(after, upto)
            if (stream is None or row[1] == stream) and (types is None or row[3] in types) and (job is None or row[7] == job)
        )
        for row in islice(chosen, None if limit is None else max(limit, 0)):
            yield to_event(self._codec, row)

    def read_for_fold(self, after: int = 0, upto: int | None = None) -> Iterator[tuple[Event, int, int]]:
        """Yield (event, time in ns, position). Raises EventsDropped."""
        if max(after, 0) < self.floor():
            raise EventsDropped(self.floor())
        for row in self._range(after, upto):
            yield self._codec.decode(row[3], row[4], row[5], row[0]), row[6], row[0]

    def _range(self, after: int, upto: int | None) -> Iterator[Row]:
        """Positions are indices plus one."""
        position = max(after, 0)
        while position < len(self._rows) and (upto is None or position < upto):
            yield self._rows[position]
            position += 1

    def _kept(self, after: int, upto: int | None) -> Iterator[Row]:
        return self._range(max(after, self.floor()), upto)

    # Compaction: the events stay where they are, and are not read any more when their archive is dropped.

    def position_at(self, time_ns: int) -> int:
        """Give the position of the newest event that is no later than ``time_ns``."""
        return max(((row[6], row[0]) for row in self._kept(0, None) if row[6] <= time_ns), default=(0, 0))[1]

    def position_before(self, time_ns: int) -> int:
        """Give the position behind which all events of ``time_ns`` and later stand."""
        return next((row[0] - 1 for row in self._kept(0, None) if row[6] >= time_ns), self.head())

    def sealed(self) -> list[Seal]:
        """Give the sealed ranges, oldest first."""
        dropped = [seal for seal in self._seals if not seal.kept]
        return [*dropped[-1:], *(seal for seal in self._seals if seal.kept)]

    def floor(self) -> int:
        """Give the position up to which events are no longer kept."""
        return max((seal.last for seal in self._seals if not seal.kept), default=0)

    def archive(self, upto: int) -> Seal:
        """Describe the range behind the last seal. Raises StoreFailed."""
        first = self._seals[-1].last + 1 if self._seals else 1
        if not first <= upto <= self.head():
            raise StoreFailed(
                f"events up to {upto} cannot be sealed: those up to {first - 1} are, and the log ends at {self.head()}"
            )
        rows = list(self._range(first - 1, upto))
        times, size = [row[6] for row in rows], sum(len(row[5]) for row in rows)
        return Seal(first, upto, rows[-1][-1], min(times), max(times), size, b"")

    def trim(self, fate: Callable[[str], Fate]) -> Iterator[int]:
        """There is no table to be kept short."""
        yield from ()

    def sweep(self) -> None:
        """There are no files."""

    def secret(self, reference: str) -> bytes | None:
        """Give the bytes behind a reference; None when they were forgotten or never were."""
        return self._secrets.get(reference)

    def load_snapshot(self, upto: int | None = None) -> tuple[int, bytes] | None:
        """Give position and data of the newest state snapshot up to ``upto``; None when there is none."""
        return max((each for each in self._snapshots.items() if upto is None or each[0] <= upto), default=None)

    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """Give position and data of every state snapshot."""
        yield from sorted(self._snapshots.items())

    def views(self) -> dict[str, dict[str, str]] | None:
        """There are none."""
        return None

    def recording(self, job: str) -> bytes | None:
        """Give the kernel recordings of a job, one after the other; None when it has none."""
        return self._recordings.get(job)

    def recorded_jobs(self) -> list[str]:
        """Give the jobs that have a recording, in the order in which they began to be recorded."""
        return list(self._recordings)

    def export(self, secrets: bool = False) -> Iterator[bytes]:
        """Give the log as one file, in pieces; see `exchange`."""
        recordings = ((job, 0, data) for job, data in self._recordings.items())
        floor, beginning = self.floor(), None
        if floor:
            beginning = Beginning(floor, self._rows[floor - 1][-1], 1, self._snapshots[floor], [])
        yield from export_log(self._kept(0, None), recordings, self._secrets.items() if secrets else None, beginning)

    def verify(self, after: int = 0, limit: int | None = None) -> VerifyReport:
        """Check the hash chain and that every event decodes, behind ``after``, at most ``limit`` of them. Raises CorruptEvent."""
        if not 0 <= after <= len(self._rows):
            raise CorruptEvent(after, "is missing")
        after = max(after, self.floor())
        checker = ChainChecker(after, self._rows[after - 1][-1]) if after else ChainChecker()
        for row in self._range(after, None if limit is None else after + limit):
            checker.check(row)
            self._codec.decode(row[3], row[4], row[5], row[0])
        return VerifyReport(checker.position - after, checker.position, checker.digest, self.floor())

"""The role of the event log; see `docket.domain.ports` for the rules that hold for all ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from docket.domain.log import Batch, Event, Fate, Seal, StoredEvent


class Ticket(Protocol):
    """The promise that a submitted batch becomes durable."""

    events: list[StoredEvent]
    """Known at once; to be acknowledged to nobody before `durable` returns."""

    async def durable(self) -> list[StoredEvent]:
        """Wait until the batch is on disk. Raises `StoreFailed`; then nothing of it was kept."""
        ...


class VerifyReport(Protocol):
    """What a check of the log found: how many events, all of them sound, and the position of the last."""

    @property
    def events(self) -> int: ...

    @property
    def position(self) -> int: ...


class EventStore(Protocol):
    """The event log: ordered, durable, never changed.

    Batches become durable in the order of their submission. A reader sees durable events only.
    """

    generation: int
    """Rises when a commit fails: whatever was folded from submitted events must be folded anew."""

    def submit(self, batch: Batch, *, deferred: bool = False) -> Ticket:
        """Queue a batch; a ``deferred`` one causes no commit of its own for a moment. Raises `VersionConflict`."""
        ...

    def listen(self, hear: Callable[[Sequence[StoredEvent]], None]) -> None:
        """Have each batch told to ``hear`` once it is durable, in the log's order."""
        ...

    async def settle(self) -> None:
        """Wait until everything that was submitted so far is durable or refused, recordings too."""
        ...

    async def append(self, batch: Batch) -> list[StoredEvent]: ...

    def head(self) -> int:
        """The position of the newest durable event; 0 in an empty log."""
        ...

    def read(
        self,
        after: int = 0,
        upto: int | None = None,
        *,
        stream: str | None = None,
        types: Sequence[str] | None = None,
        job: str | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredEvent]: ...

    def read_for_fold(self, after: int = 0, upto: int | None = None) -> Iterator[tuple[Event, int, int]]:
        """``(event, time_ns, position)`` in order: what folding needs and nothing more."""
        ...

    def secret(self, reference: str) -> bytes | None:
        """The bytes behind a reference; None when they were forgotten."""
        ...

    def forget(self, reference: str) -> bool: ...

    def verify(self, after: int = 0, limit: int | None = None) -> VerifyReport:
        """Check the events behind ``after``, all or ``limit`` of them, and with all of them what holds them.

        Raises `CorruptEvent` with the first that is not what was appended, `StoreRefused` for damage around the events.
        """
        ...

    def save_snapshot(self, position: int, data: bytes) -> None:
        """Keep the fold of the submitted events up to ``position``, some time later."""
        ...

    def load_snapshot(self, upto: int | None = None) -> tuple[int, bytes] | None:
        """The newest fold that is kept, of those not beyond ``upto``."""
        ...

    def snapshots(self) -> Iterator[tuple[int, bytes]]:
        """Position and data of every state snapshot that is kept and of the present shape."""
        ...

    def views(self) -> dict[str, dict[str, str]] | None:
        """What the views for people say: names by id of the containers and open jobs, ids of the images; None without views."""
        ...

    def save_recording(self, job: str, data: bytes) -> None:
        """Keep the next part of a job's kernel recording; durable some time later, with the next commit."""
        ...

    def recording(self, job: str) -> bytes | None:
        """All parts of a job's kernel recording; None when it has none, or none any more."""
        ...

    def recorded_jobs(self) -> list[str]:
        """The jobs that have a recording, in the order in which they began to be recorded."""
        ...

    def position_at(self, time_ns: int) -> int:
        """The position of the newest event that is no later than ``time_ns``; 0 when all are."""
        ...

    def position_before(self, time_ns: int) -> int:
        """The position behind which all events of ``time_ns`` and later stand."""
        ...

    # Compaction (`docket.domain.compaction`). Reading goes on through the archives, as if nothing had happened.

    def sealed(self) -> Sequence[Seal]:
        """The ranges that lie in archives, oldest first, and before them the last one whose archive was dropped."""
        ...

    def floor(self) -> int:
        """Events up to here are no longer kept; 0 when all are."""
        ...

    def archive(self, upto: int) -> Seal:
        """Write the events behind the last seal up to ``upto`` into an archive, durably. It counts once its seal is appended."""
        ...

    def trim(self, fate: Callable[[str], Fate]) -> Iterator[int]:
        """Delete sealed events from the log itself, a piece at a time; how many each time. ``fate`` tells what a stream keeps."""
        ...

    def sweep(self) -> None:
        """Remove archives that no seal names: dropped ones, and those of compactions that were cut off."""
        ...

    def export(self, secrets: bool = False) -> Iterator[bytes]:
        """The log and its recordings as one file, in pieces; ``secrets`` come along only when asked for."""
        ...

"""The log's side of a replay: what the job appended then must be what it appends now.

`RecordedLog` stands where the event store stands in an engine. Events that others appended meanwhile are told to the engine at the
place where they came then, which the positions of the job's own events and calls tell. Nothing is ever written.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence

import msgspec
import trio

from docket.domain.log import Batch, Event, StoredEvent
from docket.domain.model.container.events import (
    ContainerCommitFailed,
    ContainerCommitted,
    ContainerRemoveFailed,
    ContainerStarted,
)
from docket.domain.model.engine.events import EngineSwept
from docket.domain.model.exec.events import ExecStarted
from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.model.job.events import JobCompleted, JobFailed
from docket.domain.ports import EventStore
from docket.kernel.recording.format import Call
from docket.kernel.replaying.divergence import ReplayDiverged


class _Ticket:
    """A receipt for what is durable already. ``passing`` is told when the job goes on behind it."""

    def __init__(self, events: list[StoredEvent], passing: Callable[[], None]) -> None:
        self.events = events
        self._passing = passing

    async def durable(self) -> list[StoredEvent]:
        await trio.lowlevel.checkpoint()
        self._passing()
        return self.events


class RecordedLog:
    """The part of `docket.domain.ports.EventStore` that a job uses, over a log that already has the job's events."""

    generation = 0

    def __init__(
        self, source: EventStore, job: str, subject: str, next_call: Callable[[], Call | None], passing: Callable[[], None]
    ) -> None:
        """``subject`` is the stream that is followed when nothing more of the job is recorded; empty for none.

        ``passing`` is told each time when the job goes on behind events that it waited for.
        """
        self._source = source
        self._passing = passing
        # Older engines deleted garbage before they went on; that is a job of its own now, and no decision of this one's.
        self._own = [stored for stored in source.read(job=job) if not isinstance(stored.event, EngineSwept)]
        self._next_call = next_call
        self._subject = subject
        self._taken = 0
        self.complete = any(isinstance(stored.event, JobCompleted | JobFailed) for stored in self._own)
        """The job came to its end in the log."""

    @property
    def actor(self) -> str:
        """Who asked for the job."""
        return self._own[0].metadata.actor if self._own else ""

    @property
    def taken(self) -> int:
        """How many of the job's events were appended again."""
        return self._taken

    @property
    def next_event(self) -> StoredEvent | None:
        """The event that the job must append next; None behind the last."""
        return self._own[self._taken] if self._taken < len(self._own) else None

    def until_next(self) -> int | None:
        """The position up to which the engine had folded the log when the job did the next thing; None behind the last."""
        event, call = self.next_event, self._next_call()
        limits = [event.position - 1] if event is not None else []
        return min([*limits, call.position] if call is not None else limits, default=None)

    def others(self, after: int) -> list[StoredEvent]:
        """What others appended before the job did the next thing."""
        upto = self.until_next()
        if upto is not None:
            return list(self._source.read(after, upto))
        return list(self._source.read(after, stream=self._subject)) if self._subject else []

    def started(self, key: str) -> ContainerStarted | ExecStarted | None:
        """The job's next event that says which process ``key`` got."""
        for stored in self._own[self._taken :]:
            event = stored.event
            if isinstance(event, ContainerStarted) and event.container == key:
                return event
            if isinstance(event, ExecStarted) and event.exec == key:
                return event
        return None

    def removal_failure(self) -> str:
        """Why the removal that is under way failed then; empty when it did not."""
        event = self.next_event.event if self.next_event is not None else None
        return event.message if isinstance(event, ContainerRemoveFailed) else ""

    def committed(self) -> ImageImported | str:
        """The image of the commit that is under way, or why there was none."""
        for stored in self._own[self._taken :]:
            event = stored.event
            if isinstance(event, ImageImported):
                return event
            if isinstance(event, ContainerCommitted):  # the same image was there before
                return ImageImported(event.image, "", (), 0, ImageDefaults())
            if isinstance(event, ContainerCommitFailed):
                return event.message
        return "the engine ended before the image was made"

    def check_finished(self) -> None:
        """Raises `ReplayDiverged` when the job appended more then than it did now."""
        if self.next_event is not None:
            left = len(self._own) - self._taken
            raise ReplayDiverged(f"replay ended early: {left} recorded events are left, the next is {_title(self.next_event)}")

    # What an engine uses.

    def submit(self, batch: Batch, *, deferred: bool = False) -> _Ticket:
        """Take the job's next events. Raises `ReplayDiverged` when they are others."""
        recorded = self._own[self._taken : self._taken + len(batch.events)]
        if [stored.event for stored in recorded] != list(batch.events):
            raise ReplayDiverged(_explain(recorded, batch.events), behind=not recorded)
        self._taken += len(recorded)
        return _Ticket(recorded, self._passing)

    def listen(self, hear: Callable[[Sequence[StoredEvent]], None]) -> None:
        """Nobody subscribes to a replay."""

    async def settle(self) -> None:
        """Everything is on disk as soon as it is submitted."""
        await trio.lowlevel.checkpoint()

    async def append(self, batch: Batch) -> list[StoredEvent]:
        return await self.submit(batch).durable()

    def read(
        self,
        after: int = 0,
        upto: int | None = None,
        *,
        stream: str | None = None,
        types: Sequence[str] | None = None,
        job: str | None = None,
    ) -> Iterator[StoredEvent]:
        """What was in the log when the job looked."""
        return self._source.read(after, self.until_next() if upto is None else upto, stream=stream, types=types, job=job)

    def read_for_fold(self, after: int = 0, upto: int | None = None) -> Iterator[tuple[Event, int, int]]:
        """What the engine knew when the job began."""
        return self._source.read_for_fold(after, self.until_next() if upto is None else upto)

    def load_snapshot(self, upto: int | None = None) -> tuple[int, bytes] | None:
        """Folds are not trusted where the events can be folded: only the one is taken that stands for those no longer kept."""
        floor = self._source.floor()
        return self._source.load_snapshot(floor) if floor else None

    def secret(self, reference: str) -> bytes:
        """A replay needs no secret: what was forgotten, or never came along, is empty."""
        return self._source.secret(reference) or b""


def _title(stored: StoredEvent) -> str:
    return f"{type(stored.event).__name__} at position {stored.position}"


def _explain(recorded: Sequence[StoredEvent], asked: Sequence[Event]) -> str:
    before, after = [stored.event for stored in recorded], list(asked)
    same = next((index for index, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), len(before))
    expected = _title(recorded[same]) if same < len(recorded) else "the end of the job"
    name = type(after[same]).__name__ if same < len(after) else "nothing more"
    lines = [f"replay diverged: {name} was appended, recorded is {expected}"]
    lines += difflib.unified_diff(_text(before), _text(after), "recorded", "appended", lineterm="", n=1)
    return "\n".join(lines)


def _text(events: Sequence[Event]) -> list[str]:
    lines = []
    for event in events:
        lines.append(type(event).__name__)
        fields: dict[str, object] = msgspec.to_builtins(event)
        lines += [f"  {name} {msgspec.json.encode(value).decode()}" for name, value in fields.items()]
    return lines

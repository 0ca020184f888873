"""The envelope of an event: what the log adds to the fact itself, and how a batch of facts is handed to the log.

An event knows its stream (`Event.stream`). The log gives it a position, a version in its stream and a hash; the job that
appends it gives time, job, causation and actor.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    """A past-tense fact. Subclasses are named after what happened and never change their meaning.

    ``schema`` is the version of the type's shape; a new shape is a new number, and an upcaster reads the old one.
    Events hold no cycles, so the collector need not follow them: a million of them decode twice as fast (subclasses say so too).
    """

    schema: ClassVar[int] = 1
    opens_stream: ClassVar[bool] = False
    """It is the first of a stream whose id was made for it: there is no earlier version to look up."""

    @property
    def stream(self) -> str:
        """The event stream this fact belongs to, such as ``container-<id>``."""
        raise AssertionError(f"{type(self).__name__} names no stream")


class Metadata(msgspec.Struct, frozen=True):
    """Who appended an event, when, and because of what."""

    time_ns: int
    job: str = ""
    actor: str = ""
    causation: int | None = None


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as the log holds it."""

    position: int
    stream: str
    version: int
    event: Event
    metadata: Metadata
    hash: bytes


class Fate(Enum):
    """What becomes of the sealed events of a stream, in the log itself; in the archive are all."""

    LIVES = "lives"
    """Its newest event of each type stays."""
    RESTS = "rests"
    """It may go on some day: its newest event stays."""
    ENDED = "ended"
    """It never goes on."""


class Seal(msgspec.Struct, frozen=True):
    """A range of the log that lies whole in an archive beside it: positions ``first`` to ``last``, whose hash is ``hash``.

    ``size`` and ``digest`` (SHA-256) are the archive's. With it goes the fold of all events up to ``last``, as a state snapshot.
    """

    first: int
    last: int
    hash: bytes
    min_time_ns: int
    max_time_ns: int
    size: int
    digest: bytes
    kept: bool = True
    """False when the archive is gone; its events are no longer kept."""


class Batch(msgspec.Struct, frozen=True):
    """Events that are appended together or not at all.

    ``secrets`` maps references to the bytes that must not stand in an event; they are stored in the same transaction, in
    a table whose rows can be erased. ``expected`` maps a stream to the version it must have before the append.
    """

    events: tuple[Event, ...]
    metadata: Metadata
    secrets: dict[str, bytes] = {}
    expected: dict[str, int] = {}
    folds: dict[int, bytes] = {}
    """State snapshots at the last positions of ``seal`` and of what is dropped: stored in the same transaction, and kept."""
    seal: Seal | None = None
    """From this commit on the range is read from its archive."""
    drop_upto: int = 0
    """From this commit on the archives of events up to here are not read any more."""
    forgotten: tuple[str, ...] = ()
    """References of secrets that only dropped events name: they go with them."""

"""Gives events their place in the log: position, version in the stream, and the hash that chains them.

The hash of an event is SHA-256 over

    previous          the hash of the event before it, 32 bytes (zero bytes before the first)
    header            ASCII text: position, version, schema, time in ns, causation (``-`` when there is none), then the
                      numbers of characters of stream, type, job, actor and data; separated by single spaces and ended
                      by a line feed
    body              stream, type, job, actor and data, one directly after the other, as UTF-8

Numbers are decimal without padding, characters are Unicode code points. The header holds digits, ``-`` and spaces only and
ends at the first line feed, and the lengths cut the body in one way only, so two different events have two different texts.
The format is part of every log that exists: it is never changed, a successor would need a new schema number of the database.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from docket.domain.errors import VersionConflict
from docket.domain.log import Batch, StoredEvent
from docket.event_store.codec import Codec

GENESIS = bytes(32)
"""What the first event's hash is chained to."""

Row = tuple[int, str, int, str, int, str, int, str, int | None, str, bytes]
"""An event as its columns: position, stream, version, type, schema, data, time, job, causation, actor, hash."""

COLUMNS = "position, stream, version, type, schema, data, time, job, causation, actor, hash"

_LARGEST = 2**63 - 1  # what an SQLite integer can hold
_REMEMBERED_STREAMS = 4096


def link(
    previous: bytes,
    position: int,
    stream: str,
    version: int,
    type_name: str,
    schema: int,
    data: str,
    time_ns: int,
    job: str,
    causation: int | None,
    actor: str,
) -> bytes:
    """Compute the hash of an event from its columns and the hash before it; the format is in the module's docstring.

    Raises UnicodeEncodeError for text that has no UTF-8 form (lone surrogates).
    """
    header = (
        f"{position} {version} {schema} {time_ns} {'-' if causation is None else causation} "
        f"{len(stream)} {len(type_name)} {len(job)} {len(actor)} {len(data)}\n"
    )
    return sha256(previous + f"{header}{stream}{type_name}{job}{actor}{data}".encode()).digest()


class Sequencer:
    """The head of the log in memory: places batches behind it, and can fall back to what is durable.

    Only one engine has the log open (`lock`), so the head in memory is the truth, and a version conflict is known before
    anything reaches the disk: a conflicting batch fails alone. ``lookup`` gives the version of a stream as the disk has it,
    0 for none. Versions of streams that were written lately are remembered, and of all that are not durable yet; the
    others are looked up, so a log of 200,000 streams costs no more memory than one of 4,096.
    """

    def __init__(self, codec: Codec, lookup: Callable[[str], int], position: int = 0, digest: bytes = GENESIS) -> None:
        self.position = position
        self.durable_position = position
        self._encode = codec.encode
        self._lookup = lookup
        self._hash = digest
        self._durable_hash = digest
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._old_until = 0

    def version(self, stream: str, new: bool = False) -> int:
        """Give the version of the stream's last event, placed or durable; 0 when it has none. A ``new`` one is not looked up."""
        version = self._young.get(stream)
        if version is None:
            version = self._old.get(stream)
        if version is None:
            return 0 if new else self._lookup(stream)
        return version

    def place(self, batch: Batch) -> tuple[list[Row], list[StoredEvent]]:
        """Give the batch the next places. Raises VersionConflict, and leaves the head as it was, when a stream has moved on.

        Raises ValueError for an event that cannot be stored: of an unknown type, or with a number or text out of range.
        """
        self._check_expected(batch)
        metadata = batch.metadata
        time_ns, job, actor, causation = metadata.time_ns, metadata.job, metadata.actor, metadata.causation
        if not 0 <= time_ns <= _LARGEST or not 0 <= (causation or 0) <= _LARGEST:
            raise ValueError(f"time {time_ns} or causation {causation} does not fit the log")
        position, digest = self.position, self._hash
        versions: dict[str, int] = {}
        rows: list[Row] = []
        stored: list[StoredEvent] = []
        for event in batch.events:
            type_name, schema, data = self._encode(event)
            stream = event.stream
            position += 1
            version = (versions[stream] if stream in versions else self.version(stream, event.opens_stream)) + 1
            versions[stream] = version
            digest = link(digest, position, stream, version, type_name, schema, data, time_ns, job, causation, actor)
            rows.append((position, stream, version, type_name, schema, data, time_ns, job, causation, actor, digest))
            stored.append(StoredEvent(position, stream, version, event, metadata, digest))
        self.position, self._hash = position, digest
        self._remember(versions)
        return rows, stored

    def _check_expected(self, batch: Batch) -> None:
        for stream, expected in batch.expected.items():
            actual = self.version(stream)
            if actual != expected:
                raise VersionConflict(f"stream {stream} is at version {actual}, not {expected}: fold it again and decide again")

    def _remember(self, versions: dict[str, int]) -> None:
        self._young.update(versions)
        # The older half may go only when the disk knows all of it.
        if len(self._young) >= _REMEMBERED_STREAMS and self.durable_position >= self._old_until:
            self._old, self._young, self._old_until = self._young, {}, self.position

    def made_durable(self, position: int, digest: bytes) -> None:
        """Note that everything up to ``position``, whose hash is ``digest``, is on disk."""
        self.durable_position, self._durable_hash = position, digest

    def fall_back(self) -> None:
        """Forget everything that was placed but is not durable."""
        self.position, self._hash = self.durable_position, self._durable_hash
        self._young, self._old, self._old_until = {}, {}, 0

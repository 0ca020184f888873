"""`SqliteEventStore`: the event log in one SQLite file.

Threads: `submit`, `append` and what saves belong to trio's thread; reading, `secret`, `forget` and `verify` may be called from
any. Nothing here waits for the disk except `forget`, `verify`, `close` and the reading itself: call those in worker threads.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from docket.domain.errors import CorruptEvent, StoreFailed, StoreRefused
from docket.domain.log import Batch, Fate, Seal, StoredEvent
from docket.event_store import archive, ranges, sealing
from docket.event_store.chain import Sequencer
from docket.event_store.codec import Codec
from docket.event_store.damage import note_damage
from docket.event_store.erasing import erase
from docket.event_store.fairness import StandAside
from docket.event_store.lock import FileLock
from docket.event_store.log_reader import LogReader
from docket.event_store.opening import check_log, open_for_writing, snapshot_digest
from docket.event_store.reading import connect
from docket.event_store.recordings import RecordingLimits, Recordings
from docket.event_store.report import VerifyReport
from docket.event_store.ticket import Ticket
from docket.event_store.writer import Append, Call, Extra, Writer

_MAX_WAITING = 100_000  # batches; far more than there can be jobs, so reaching it means the disk stands still
_KEPT_SNAPSHOTS = 16
_DEFERRED_SECONDS = 0.02
_RECENT_SECRETS = 512

# Keeps the history evenly covered: drops the snapshot between the two nearest neighbours, never one of the two newest, nor those
# that stand for sealed events.
_THIN_SNAPSHOTS = f"""
DELETE FROM state_snapshots WHERE (SELECT count(*) FROM state_snapshots) > {_KEPT_SNAPSHOTS} AND position = (
    SELECT position FROM (
        SELECT position,
            lead(position) OVER places - ifnull(lag(position) OVER places, 0) AS gap,
            lead(position, 2) OVER places AS second_next
        FROM state_snapshots WINDOW places AS (ORDER BY position)
    ) WHERE second_next IS NOT NULL AND position NOT IN ({ranges.PROTECTED}) ORDER BY gap LIMIT 1
)"""


class SqliteEventStore(LogReader):
    """The event log in ``path``; see `docket.domain.ports.EventStore` for what each method promises.

    ``generation`` counts failed commits. It changes in trio's thread only, when failed appends are reported: whoever folds
    events at submission compares it before deciding, and folds the log again when it has changed. Batches that were
    submitted before are refused by themselves.
    """

    def __init__(
        self,
        path: Path,
        codec: Codec,
        *,
        state_schema: int = 1,
        clock: Callable[[], int] = time.time_ns,
        recordings: RecordingLimits | None = None,
    ) -> None:
        """Open or create the log. Raises StoreRefused when it is in use, damaged, foreign or of a later docket.

        ``state_schema`` is the version of the engine state's shape: snapshots of another one are not used. ``clock`` gives
        ns since the epoch, for the times of snapshots and recordings; ``recordings`` bounds how many of these are kept.
        """
        super().__init__(path, codec, state_schema)
        self.generation = 0
        self._clock = clock
        self._closed = False
        self._waiting = 0
        self._flushing = False
        self._hear: Callable[[Sequence[StoredEvent]], None] | None = None
        self._newest = Ticket([])
        self._newest.settle()
        self._recent_secrets: dict[str, bytes] = {}
        self._token: trio.lowlevel.TrioToken | None = None
        self._lock = FileLock(path)
        try:
            self._connection = open_for_writing(path)
            try:
                self._connection.create_function("docket_snapshot_digest", 5, snapshot_digest, deterministic=True)
                position, digest = check_log(self._connection, path, state_schema)
                self._recordings = Recordings(self._connection, recordings or RecordingLimits())
                self._reader = connect(path)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._sequencer = Sequencer(codec, self._durable_version, position, digest)
        self._writer = Writer(self._connection, position, digest, self._on_settled)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # Writing.

    def submit(self, batch: Batch, *, deferred: bool = False) -> Ticket:
        """Place the batch behind all that was submitted before and send it to the disk; never waits.

        A ``deferred`` batch goes with the next one that is not, at the latest after 20 ms.

        Raises VersionConflict when a stream is not at the expected version, ValueError for what cannot be stored, StoreFailed
        when the log is closed or the disk stands still; the log is as before then.
        """
        self._check_open()
        if self._waiting >= _MAX_WAITING:
            raise StoreFailed(f"event log {self.path}: {self._waiting} appends wait for the disk, no more are accepted")
        for reference in batch.secrets:
            if reference in self._recent_secrets:  # the table refuses an older one, with the whole commit
                raise ValueError(f"secret reference {reference} is in use")
        self._enter_loop()
        rows, events = self._sequencer.place(batch)
        self._newest = ticket = Ticket(events)
        self._recent_secrets.update(batch.secrets)
        for reference in batch.forgotten:
            self._recent_secrets.pop(reference, None)  # should the commit fail, the table still has it
        self._waiting += 1
        statements = ranges.statements(batch, self._clock(), self._state_schema) if batch.folds else ()
        append = Append(rows, batch.secrets, ticket, self.generation, statements)
        if deferred:
            self._defer(append)
        else:
            self._writer.put(append)
        return ticket

    def _defer(self, work: Append | Extra) -> None:
        if not trio.lowlevel.in_trio_run():
            self._writer.put(work)
            return
        self._writer.defer(work)
        if not self._flushing:
            self._flushing = True
            trio.lowlevel.spawn_system_task(self._flush_later)

    async def _flush_later(self) -> None:
        try:
            await trio.sleep(_DEFERRED_SECONDS)
        finally:
            self._flushing = False
            if not self._closed:
                self._writer.flush()

    def listen(self, hear: Callable[[Sequence[StoredEvent]], None]) -> None:
        """Have each batch told to ``hear`` once it is durable, in the log's order, in trio's thread."""
        self._hear = hear

    async def settle(self) -> None:
        """Wait until everything that was submitted so far is durable or refused, recordings too."""
        passed = Call(lambda connection: True)
        self._writer.flush()
        self._writer.call(passed)
        await trio.to_thread.run_sync(passed.result)
        with suppress(StoreFailed):
            await self._newest.durable()

    def _enter_loop(self) -> None:
        """Note which trio loop is to hear of what becomes durable."""
        token = trio.lowlevel.current_trio_token()
        if token is not self._token:
            self._token = token
            trio.lowlevel.add_instrument(StandAside(self._writer.busy))

    async def append(self, batch: Batch) -> list[StoredEvent]:
        """Submit the batch and wait until it is durable. Raises as `submit` and `Ticket.durable` do."""
        return await self.submit(batch).durable()

    def save_snapshot(self, position: int, data: bytes) -> None:
        """Keep the fold of the events up to ``position``, some time later; a loss is logged, for it can be made again."""
        self._check_open()
        row = {"position": position, "taken_ns": self._clock(), "schema": self._state_schema, "data": data}
        save, thin = (ranges.SAVE_SNAPSHOT, row), (_THIN_SNAPSHOTS, ())
        self._writer.put(Extra(f"state snapshot at {position}", save, thin, generation=self.generation))

    def save_recording(self, job: str, data: bytes) -> None:
        """Keep the next part of a job's kernel recording (JSON lines), some time later. A loss is logged."""
        self._check_open()
        statements = self._recordings.statements(job, self._clock(), data)
        if statements:
            self._defer(Extra(f"recording of job {job}", *statements))

    def forget(self, reference: str) -> bool:
        """Erase a secret from the table, the free pages and the WAL; tell whether there was one. Waits for the disk.

        Raises StoreFailed when the bytes could not be erased everywhere, because another program reads the database: end it
        and forget again.
        """
        self._check_open()
        call = Call(lambda connection: erase(connection, reference))
        self._writer.call(call)
        try:
            return call.result()
        finally:
            self._recent_secrets.pop(reference, None)  # the table has it, if it is there still

    # Compaction. All of it waits for the disk.

    def archive(self, upto: int) -> Seal:
        """Write an archive of the events behind the last seal; see `sealing`. Raises StoreFailed and CorruptEvent."""
        return sealing.archive_upto(self.path, self._codec, upto)

    def trim(self, fate: Callable[[str], Fate]) -> Iterator[int]:
        """Delete sealed rows, a piece at a time; appends go on in between. Raises StoreFailed."""

        def delete(function: Callable[[sqlite3.Connection], bool]) -> bool:
            self._check_open()
            call = Call(function)
            self._writer.call(call)
            return call.result()

        return sealing.trim(self.path, fate, delete)

    def sweep(self) -> None:
        """Remove archives that no seal names. Raises StoreFailed."""
        try:
            archive.sweep(self.path, self.sealed())
        except OSError as error:
            raise StoreFailed(f"event log {self.path}: an archive cannot be removed: {error.strerror}") from error

    def close(self) -> None:
        """Write what was submitted, then give file and lock back. Calling it twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self._reader.close()
        self._connection.close()
        self._lock.release()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed(f"event log {self.path} is closed")

    def _on_settled(self, appends: Sequence[Append], error: Exception | None, generation: int) -> None:
        """Carry the news from the writer's thread to trio's."""
        assert self._token is not None
        try:
            self._token.run_sync_soon(self._settle, appends, error, generation)
        except trio.RunFinishedError:
            # Nobody waits any more, but the heads must still be right for the run that comes next.
            self._settle(appends, error, generation)

    def _settle(self, appends: Sequence[Append], error: Exception | None, generation: int) -> None:
        self._waiting -= len(appends)
        if generation != self.generation:
            # All that is on its way was placed behind what was refused, and will be refused as well.
            self.generation = generation
            self._sequencer.fall_back()
            self._recent_secrets.clear()
        for append in appends:
            if error is None:
                self._made_durable(append)
                append.ticket.settle()
                if self._hear is not None:
                    self._hear(append.ticket.events)
            else:
                append.ticket.settle(StoreFailed(str(error)).with_traceback(error.__traceback__))

    def _made_durable(self, append: Append) -> None:
        if append.rows:
            last = append.rows[-1]
            self._sequencer.made_durable(last[0], last[-1])
        if not self._waiting:
            self._forget_older_secrets()

    def _forget_older_secrets(self) -> None:
        """Nothing is on its way: what was used lately stays at hand, the rest is read when it is needed."""
        recent = self._recent_secrets
        for reference in list(recent)[: max(len(recent) - _RECENT_SECRETS, 0)]:
            del recent[reference]

    # Reading.

    def head(self) -> int:
        """Give the position of the newest durable event; 0 in an empty log."""
        return self._sequencer.durable_position

    def secret(self, reference: str) -> bytes | None:
        """Give the bytes behind a reference, submitted or durable; None when they were forgotten or never were."""
        fresh = self._recent_secrets.get(reference)
        if fresh is not None:
            return fresh
        return super().secret(reference)

    def verify(self, after: int = 0, limit: int | None = None) -> VerifyReport:
        """As `LogReader.verify`; what is found is noted beside the log: until it is whole again, no engine starts on it."""
        try:
            return super().verify(after, limit)
        except (CorruptEvent, StoreRefused) as error:
            note_damage(self.path, str(error))
            raise

    def _durable_version(self, stream: str) -> int:
        row = self._fetch("SELECT max(version) FROM events WHERE stream = ?", stream)
        return (row and row[0]) or 0

"""The one thread that writes: takes work from a queue, makes one transaction of all that waits, and reports when it is on disk.

Rules:
- Work becomes durable in the order in which it was put. Whatever was put while the disk was busy shares the next commit.
- Deferred work causes no commit of its own: it keeps its place in the order and rides along with the next.
- A failed commit keeps nothing. What was put before its failure was reported (an older ``generation``) fails as well: it was
  decided on, and its positions and hashes follow, events that do not exist.
- Recordings ride along; when a commit fails, it is tried again without them, for the events matter more. State snapshots are
  large, so they get a transaction of their own, once the events before them were reported; one that was taken before a failed
  commit is dropped, for it may hold what was refused.
- sqlite3 gives up the interpreter's lock in each step of a statement and must win it back afterwards, which takes
  milliseconds while another thread computes (see `fairness`). So many rows go into few statements, not into one each.
- After a failure nothing is written before the database was seen to end where the last commit left it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Any

from docket.domain.errors import StoreFailed
from docket.event_store.chain import COLUMNS, Row
from docket.event_store.ticket import Ticket

_log = logging.getLogger(__name__)

_GROUP_ROWS = 4096  # bounds a transaction, and so the time until the first append of it is acknowledged
_INSERT_ROWS = tuple(2**power for power in range(8, -1, -1))  # 256 × 11 parameters: below the limit of every SQLite
_INSERTS = {n: f"INSERT INTO events ({COLUMNS}) VALUES {','.join(['(?,?,?,?,?,?,?,?,?,?,?)'] * n)}" for n in _INSERT_ROWS}

Statement = tuple[str, Sequence[Any] | Mapping[str, Any]]

Settled = Callable[[Sequence["Append"], Exception | None, int], None]
"""Hears, in order, of appends that are durable (no error) or were refused, and the generation that holds from then on."""


class Append:
    """A placed batch on its way. Its ``statements`` are part of it: they are done in its transaction, or it is refused."""

    __slots__ = ("generation", "rows", "secrets", "statements", "ticket")

    def __init__(
        self, rows: list[Row], secrets: dict[str, bytes], ticket: Ticket, generation: int, statements: Sequence[Statement] = ()
    ) -> None:
        self.statements = statements
        self.rows = rows
        self.secrets = secrets
        self.ticket = ticket
        self.generation = generation


class Extra:
    """Statements that nobody waits for; ``name`` is for the log when they are lost.

    With a ``generation`` they hold what events of that generation say, and are written alone.
    """

    __slots__ = ("generation", "name", "statements")

    def __init__(self, name: str, *statements: Statement, generation: int | None = None) -> None:
        self.name = name
        self.statements = statements
        self.generation = generation


class Call:
    """Work outside a transaction that somebody waits for in another thread."""

    def __init__(self, function: Callable[[sqlite3.Connection], bool]) -> None:
        self._function = function
        self._finished = threading.Event()
        self._result = False
        self._error: Exception | None = None

    def perform(self, connection: sqlite3.Connection) -> None:
        """Do the work, in the writer's thread."""
        try:
            self._result = self._function(connection)
        except Exception as error:  # raised again by result(), in the thread that asked
            self._error = error
        self._finished.set()

    def result(self) -> bool:
        """Wait for the work; raises StoreFailed when the disk refused it."""
        self._finished.wait()
        if isinstance(self._error, sqlite3.Error):
            raise StoreFailed(f"event log refused the change, nothing of it was kept: {self._error}") from self._error
        if self._error is not None:
            raise self._error
        return self._result


def _advice(error: Exception) -> str:
    """What the operator can do about it; the daemon itself goes on, and so does what only reads."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return ": make room on the disk of the data root, then repeat the request"
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return ": look at the disk of the data root and at the kernel's messages, then repeat the request"
    return ""


class Writer:
    """Owns the writing connection from `start` to `close`."""

    def __init__(self, connection: sqlite3.Connection, position: int, digest: bytes, settled: Settled) -> None:
        self._connection = connection
        self._end = (position, digest) if position else None
        self._settled = settled
        self._queue: SimpleQueue[Append | Extra | Call | None] = SimpleQueue()
        self._deferred: list[Append | Extra] = []
        self._held: Call | Extra | None = None
        self._closing = False
        self._generation = 0
        self._in_doubt = False
        self._working = False
        self._thread = threading.Thread(target=self._run, name="event-log-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, work: Append | Extra) -> None:
        """Hand over work, behind all that was deferred; returns at once."""
        self.flush()
        self._queue.put(work)

    def call(self, work: Call) -> None:
        """Hand over a call, from any thread: what was deferred stays where it is, for it belongs to one thread."""
        self._queue.put(work)

    def defer(self, work: Append | Extra) -> None:
        """Keep work for the next commit, whoever causes it; nobody waits for it. `flush` hands it over by itself."""
        self._deferred.append(work)

    def flush(self) -> None:
        """Hand over what was deferred. Like `put` and `defer`, called in one thread only."""
        for work in self._deferred:
            self._queue.put(work)
        self._deferred.clear()

    def busy(self) -> bool:
        """Tell whether there is work that is not done yet."""
        return self._working or not self._queue.empty()

    def close(self) -> None:
        """Finish what was put and deferred, and end the thread."""
        self.flush()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            appends, extras = self._collect()
            if appends or extras:
                self._write(appends, extras)
            held, self._held = self._held, None
            if isinstance(held, Call):
                held.perform(self._connection)
            elif held is not None:
                self._write_copy(held)
        self._working = False

    def _collect(self) -> tuple[list[Append], list[Extra]]:
        """Wait for work, then take all that is there, up to what is done alone: that keeps its place in the order."""
        appends: list[Append] = []
        extras: list[Extra] = []
        size = 0
        self._working = False
        work = self._queue.get()
        self._working = True
        try:
            while True:
                if work is None:
                    self._closing = True
                elif isinstance(work, Append):
                    appends.append(work)
                    size += len(work.rows)
                elif isinstance(work, Extra) and work.generation is None:
                    extras.append(work)
                else:
                    self._held = work
                if work is None or self._held is not None or size >= _GROUP_ROWS:
                    return appends, extras
                work = self._queue.get_nowait()
        except Empty:
            return appends, extras

    def _write(self, appends: list[Append], extras: list[Extra]) -> None:
        stale = [append for append in appends if append.generation != self._generation]
        if stale:
            refused = StoreFailed("append follows one that the disk refused, nothing of it was kept")
            self._settled(stale, refused, self._generation)
            appends = [append for append in appends if append.generation == self._generation]
        error = self._commit(appends, extras)
        if error is not None and extras:
            _log.warning("event log: lost %s: %s", ", ".join(extra.name for extra in extras), error)
            error = self._commit(appends, []) if appends else None
        if not appends:
            return
        if error is not None:
            self._generation += 1
            refused = StoreFailed(f"event log refused the append, nothing of it was kept: {error}{_advice(error)}")
            refused.__cause__ = error
            self._settled(appends, refused, self._generation)
        else:
            self._settled(appends, None, self._generation)

    def _write_copy(self, extra: Extra) -> None:
        if extra.generation != self._generation:
            return
        error = self._commit([], [extra])
        if error is not None:
            _log.warning("event log: lost %s: %s", extra.name, error)

    def _commit(self, appends: list[Append], extras: list[Extra]) -> Exception | None:
        """Write one transaction; give the error when it failed and nothing of it was kept."""
        rows = list(chain.from_iterable(append.rows for append in appends))
        try:
            if self._in_doubt:
                self._clear_doubt()
            self._transaction(rows, appends, extras)
        except Exception as error:
            # Also what is no sqlite3.Error, such as MemoryError: a dead thread would leave every waiting job hanging.
            self._in_doubt = True
            return error
        if rows:
            self._end = (rows[-1][0], rows[-1][-1])
        return None

    def _transaction(self, rows: list[Row], appends: list[Append], extras: list[Extra]) -> None:
        execute = self._connection.execute
        secrets = [pair for append in appends for pair in append.secrets.items()]
        statements = [statement for append in appends for statement in append.statements]
        statements += [statement for extra in extras for statement in extra.statements]
        if not statements and not secrets and len(rows) in _INSERTS:
            execute(_INSERTS[len(rows)], tuple(chain.from_iterable(rows)))  # one statement is a transaction by itself
            return
        execute("BEGIN IMMEDIATE")
        first = 0
        for size in _INSERT_ROWS:
            while len(rows) - first >= size:
                execute(_INSERTS[size], tuple(chain.from_iterable(rows[first : first + size])))
                first += size
        for pair in secrets:
            execute("INSERT INTO secrets (reference, value) VALUES (?, ?)", pair)
        for statement, arguments in statements:
            execute(statement, arguments)
        execute("COMMIT")

    def _clear_doubt(self) -> None:
        """Undo what a failed transaction left open, and see that the log ends where it should.

        Raises StoreFailed when it does not: something else wrote to the file, or a commit that was reported as failed is there.
        """
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        end = self._connection.execute("SELECT position, hash FROM events ORDER BY position DESC LIMIT 1").fetchone()
        if end != self._end:
            raise StoreFailed("event log does not end where docket's last commit left it: restart the docket daemon")
        self._in_doubt = False

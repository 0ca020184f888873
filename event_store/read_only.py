"""`ReadOnlyEventStore`: a log that is looked at and never written to, be it an engine's own or one that was imported.

It needs no lock, so an engine may have the log open meanwhile.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import trio

from docket.domain.errors import StoreFailed, StoreRefused
from docket.event_store.codec import Codec
from docket.event_store.opening import APPLICATION_ID, IMPORTED_ID, SCHEMA
from docket.event_store.reading import connect
from docket.event_store.report import VerifyReport
from docket.event_store.sqlite import SqliteEventStore


class ReadOnlyEventStore(SqliteEventStore):
    """The reading half of `SqliteEventStore`; what would write raises StoreFailed."""

    def __init__(self, path: Path, codec: Codec, *, state_schema: int = 1) -> None:
        """Open a log that exists. Raises StoreRefused when it is none that this docket can read."""
        self.path = path
        self.generation = 0
        self._codec = codec
        self._state_schema = state_schema
        self._closed = True
        self._recent_secrets = {}
        self._reader_lock = threading.Lock()
        try:
            # By name, so that a missing file is not made.
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True).close()
            self._reader = connect(path)
            for setting in ("trusted_schema = OFF", "cell_size_check = ON"):
                self._reader.execute(f"PRAGMA {setting}")
            (application,) = self._reader.execute("PRAGMA application_id").fetchone()
            (schema,) = self._reader.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise StoreRefused(f"event log {path} cannot be opened: {error}") from error
        if application not in (APPLICATION_ID, IMPORTED_ID) or schema > SCHEMA:
            self._reader.close()
            raise StoreRefused(f"event log {path} is none that this docket can read (schema {schema})")

    def head(self) -> int:
        """Give the position of the newest event; 0 in an empty log. It moves while an engine appends."""
        row = self._fetch("SELECT max(position) FROM events")
        return (row and row[0]) or 0

    async def settle(self) -> None:
        """Nothing is ever on its way here."""
        await trio.lowlevel.checkpoint()

    def verify(self, after: int = 0, limit: int | None = None) -> VerifyReport:
        """As `SqliteEventStore.verify`; what is found is not noted beside the log."""
        report = self._verify_events(after, limit)
        if limit is None:
            self._verify_structure()
        return report

    def close(self) -> None:
        """Give the file back. Calling it twice is fine."""
        self._reader.close()

    def _check_open(self) -> None:
        raise StoreFailed(f"event log {self.path} can only be looked at")

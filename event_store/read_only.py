"""`ReadOnlyEventStore`: a log that is looked at and never written to, be it an engine's own or one that was imported.

It needs no lock, so an engine may have the log open meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import trio

from docket.domain.errors import StoreFailed, StoreRefused
from docket.domain.log import Batch, Fate, StoredEvent
from docket.event_store.codec import Codec
from docket.event_store.log_reader import LogReader
from docket.event_store.opening import APPLICATION_ID, IMPORTED_ID, SCHEMA
from docket.event_store.reading import connect


class ReadOnlyEventStore(LogReader):
    """Implements `docket.domain.ports.EventStore`; what would write raises StoreFailed."""

    generation = 0

    def __init__(self, path: Path, codec: Codec, *, state_schema: int = 1) -> None:
        """Open a log that exists. Raises StoreRefused when it is none that this docket can read."""
        super().__init__(path, codec, state_schema)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back. Calling it twice is fine."""
        self._reader.close()

    def head(self) -> int:
        """Give the position of the newest event; 0 in an empty log. It moves while an engine appends."""
        row = self._fetch("SELECT max(position) FROM events")
        return (row and row[0]) or 0

    def listen(self, hear: Callable[[Sequence[StoredEvent]], None]) -> None:
        """Nothing is ever appended here."""

    async def settle(self) -> None:
        """Nothing is ever on its way here."""
        await trio.lowlevel.checkpoint()

    def submit(self, batch: Batch, *, deferred: bool = False) -> NoReturn:
        """Raises StoreFailed."""
        self._refuse()

    async def append(self, batch: Batch) -> NoReturn:
        """Raises StoreFailed."""
        self._refuse()

    def save_snapshot(self, position: int, data: bytes) -> None:
        """Raises StoreFailed."""
        self._refuse()

    def save_recording(self, job: str, data: bytes) -> None:
        """Raises StoreFailed."""
        self._refuse()

    def archive(self, upto: int) -> NoReturn:
        """Raises StoreFailed."""
        self._refuse()

    def trim(self, fate: Callable[[str], Fate]) -> NoReturn:
        """Raises StoreFailed."""
        self._refuse()

    def sweep(self) -> NoReturn:
        """Raises StoreFailed."""
        self._refuse()

    def forget(self, reference: str) -> NoReturn:
        """Raises StoreFailed."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StoreFailed(f"event log {self.path} can only be looked at")

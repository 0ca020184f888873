"""Reading beside the writer: damage is named, never guessed around."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from docket.domain.errors import CorruptEvent
from docket.domain.log import Batch
from docket.event_store.chain import GENESIS, link
from docket.event_store.codec import Codec
from docket.event_store.reading import ChainChecker, connect, fold_rows
from docket.event_store.sqlite import SqliteEventStore


@pytest.fixture
def log(tmp_path: Path, codec: Codec, noted: Callable[..., Batch], append: Callable[..., None]) -> Path:
    path = tmp_path / "log.db"
    with SqliteEventStore(path, codec) as store:
        append(store, noted(*[f"a text-{n:04}" for n in range(1, 1301)]))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER events_are_not_updated")
        connection.execute("DROP TRIGGER events_are_not_deleted")
    return path


def test_a_reading_connection_cannot_write(log: Path) -> None:
    """One writer: nothing else that the store opens changes a byte."""
    with closing(connect(log)) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM secrets")


@pytest.mark.parametrize("missing", [1, 250, 500, 501, 1299])
def test_folding_stops_at_a_missing_event(log: Path, missing: int) -> None:
    """Positions are counted, not read, so a gap must be found before anything behind it is folded."""
    with closing(sqlite3.connect(log, isolation_level=None)) as connection:
        connection.execute("DELETE FROM events WHERE position = ?", [missing])
    folded = 0
    with pytest.raises(CorruptEvent, match=f"event {missing}: is missing"):
        for first, chunk in fold_rows(log, 0, None):
            assert first == folded + 1
            folded += len(chunk)
    assert folded < missing


@pytest.mark.parametrize("number", [1, 700, 1300])
def test_text_that_is_no_utf_8_is_a_corrupt_event(log: Path, codec: Codec, number: int) -> None:
    """The driver's complaint about a column becomes an error that names the event."""
    with SqliteEventStore(log, codec) as store:
        with closing(sqlite3.connect(log, isolation_level=None)) as connection:
            connection.execute("UPDATE events SET data = CAST(x'22ff22' AS TEXT) WHERE position = ?", [number])
        for read in (store.verify, lambda: list(store.read()), lambda: list(store.read_for_fold())):
            with pytest.raises(CorruptEvent) as caught:
                read()
            assert caught.value.position == number


def test_a_column_of_another_type_is_a_corrupt_event() -> None:
    """1 and "1" print alike, so the chain checks the types as well."""
    digest = link(GENESIS, 1, "s", 1, "T", 1, "{}", 5, "j", None, "a")
    ChainChecker().check((1, "s", 1, "T", 1, "{}", 5, "j", None, "a", digest))
    for changed in (
        (1, "s", "1", "T", 1, "{}", 5, "j", None, "a", digest),
        (1, "s", 1, "T", 1, b"{}", 5, "j", None, "a", digest),
        (1, None, 1, "T", 1, "{}", 5, "j", None, "a", digest),
        (1, "s", 1, "T", 1, "{}", 5, "j", None, "a", digest.hex()),
    ):
        with pytest.raises(CorruptEvent, match="event 1: "):
            ChainChecker().check(changed)  # type: ignore[arg-type]

"""Forgetting a secret: gone from every file."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from docket.domain.errors import StoreFailed
from docket.domain.log import Batch
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore

Append = Callable[..., None]
Noted = Callable[..., Batch]


def bytes_on_disk(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


@pytest.mark.parametrize("size", [20, 3000, 100_000])
def test_s54_forgotten_bytes_are_in_no_file(tmp_path: Path, codec: Codec, noted: Noted, append: Append, size: int) -> None:
    """Database, free pages, WAL: the value is nowhere, while the log is open and after."""
    secret = b"hunter2-" * (size // 8)
    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        append(store, noted("a one", secrets={"ref": secret, "other": b"stays"}))
        assert b"hunter2-" in bytes_on_disk(tmp_path)
        assert store.forget("ref")
        assert b"hunter2-" not in bytes_on_disk(tmp_path)
        assert store.secret("other") == b"stays"
        assert store.verify().events == 1
    assert b"hunter2-" not in bytes_on_disk(tmp_path)


@pytest.mark.slow
def test_s54_no_copy_survives_the_moving_of_rows(tmp_path: Path, codec: Codec, noted: Noted, append: Append) -> None:
    """Rows move between pages as neighbours come and go; their old places keep nothing."""
    dice = random.Random(7)
    forgotten, kept = [], []
    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        for first in range(0, 300, 50):
            names = [f"marker-{number:04}" for number in range(first, first + 50)]
            append(store, *[noted(secrets={name: name.encode() * dice.choice([1, 9, 90])}) for name in names])
            kept += names
            for _ in range(35):
                name = kept.pop(dice.randrange(len(kept)))
                assert store.forget(name)
                forgotten.append(f"{name}{name}".encode())
        disk = bytes_on_disk(tmp_path)
        assert [marker for marker in forgotten if marker in disk] == []
        assert all(store.secret(name) is not None for name in kept)


def test_a_reader_that_keeps_old_pages_alive_is_named(tmp_path: Path, codec: Codec, noted: Noted, append: Append) -> None:
    """Erasure is not claimed while another program's open read holds the WAL; afterwards it can be completed."""
    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        append(store, noted("a", secrets={"ref": b"hunter2-hunter2"}))
        store._connection.execute("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM events").fetchall()
            with pytest.raises(StoreFailed, match="another program reads the database"):
                store.forget("ref")
            other.execute("COMMIT")
        assert store.secret("ref") is None
        assert not store.forget("ref")
        assert b"hunter2-hunter2" not in bytes_on_disk(tmp_path)


def test_an_unfinished_iteration_does_not_hold_secrets(tmp_path: Path, codec: Codec, noted: Noted, append: Append) -> None:
    """The store's own readers keep no transaction open between chunks."""
    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        append(store, noted(*["a"] * 1200, secrets={"ref": b"hunter2-hunter2"}))
        reader = store.read()
        next(reader)
        assert store.forget("ref")
        assert b"hunter2-hunter2" not in bytes_on_disk(tmp_path)
        assert sum(1 for _ in reader) == 1199

"""The schema of the log's database and how it comes about; only imported when there is something to migrate.

`sqlite_utils` takes as long to import as the rest of the store takes to open, so `opening` reads ``PRAGMA user_version`` and
imports this module only when it is below `opening.SCHEMA`. Each migration is one transaction that also sets user_version;
migrations are never changed once released, a new one is added and `opening.SCHEMA` raised.
"""

from __future__ import annotations

import re
import sqlite3
from importlib.resources import files

from sqlite_utils import Database, Migrations
from sqlite_utils.db import Table

import docket

migrations = Migrations("docket")

_REFUSALS = {
    "events_are_not_updated": "BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END",
    "events_are_not_deleted": "BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END",
    # INSERT OR REPLACE deletes without firing delete triggers unless recursive_triggers is on, so it is refused here.
    "events_are_only_appended": (
        "BEFORE INSERT ON events WHEN NEW.position <> (SELECT ifnull(max(position), 0) + 1 FROM events) "
        "OR EXISTS (SELECT 1 FROM events WHERE stream = NEW.stream AND version = NEW.version) "
        "BEGIN SELECT RAISE(ABORT, 'events are only appended'); END"
    ),
}


_SEALED_REFUSALS = {
    # What is sealed lies in an archive, and may go from the table. Nothing else may.
    "events_are_not_deleted": (
        "BEFORE DELETE ON events WHEN OLD.position > (SELECT ifnull(max(last), 0) FROM sealed_ranges) "
        "BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END"
    ),
    "events_are_only_appended": (
        "BEFORE INSERT ON events WHEN NEW.position <> 1 + max((SELECT ifnull(max(position), 0) FROM events), "
        "(SELECT ifnull(max(last), 0) FROM sealed_ranges)) "
        "OR EXISTS (SELECT 1 FROM events WHERE stream = NEW.stream AND version = NEW.version) "
        "BEGIN SELECT RAISE(ABORT, 'events are only appended'); END"
    ),
    # A seal goes on where the last one ended, fits the chain, and never takes all events: the next one is chained to one of them.
    "seals_are_only_appended": (
        "BEFORE INSERT ON sealed_ranges WHEN NEW.first <> 1 + (SELECT ifnull(max(last), 0) FROM sealed_ranges) "
        "OR NEW.last < NEW.first OR NEW.last >= (SELECT ifnull(max(position), 0) FROM events) "
        "OR NEW.hash IS NOT (SELECT hash FROM events WHERE position = NEW.last) OR NEW.kept <> 1 "
        "BEGIN SELECT RAISE(ABORT, 'seals are only appended'); END"
    ),
    "seals_are_not_updated": (
        "BEFORE UPDATE ON sealed_ranges WHEN (NEW.first, NEW.last, NEW.hash, NEW.min_time, NEW.max_time, NEW.bytes, NEW.digest) "
        "IS NOT (OLD.first, OLD.last, OLD.hash, OLD.min_time, OLD.max_time, OLD.bytes, OLD.digest) OR NEW.kept > OLD.kept "
        "BEGIN SELECT RAISE(ABORT, 'seals are never changed'); END"
    ),
    # The newest row of a dropped archive is what the oldest archive that is kept is chained to.
    "seals_are_not_deleted": (
        "BEFORE DELETE ON sealed_ranges WHEN OLD.kept "
        "OR NOT EXISTS (SELECT 1 FROM sealed_ranges WHERE NOT kept AND last > OLD.last) "
        "BEGIN SELECT RAISE(ABORT, 'seals are never deleted'); END"
    ),
}


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to `opening.SCHEMA`."""
    migrations.apply(Database(connection, execute_plugins=False))


@migrations(name="0001_events")
def create_events(db: Database) -> None:
    """The events, and the triggers that keep them as they are."""
    events = db.table("events")
    assert isinstance(events, Table)
    events.create(
        {
            "position": int, "stream": str, "version": int, "type": str, "schema": int, "data": str,
            "time": int, "job": str, "causation": int, "actor": str, "hash": bytes,
        },
        pk="position",
        not_null={"stream", "version", "type", "schema", "data", "time", "job", "actor", "hash"},
        strict=True,
    )  # fmt: skip
    events.create_index(["stream", "version"], index_name="events_stream_version", unique=True)
    db.execute("CREATE INDEX events_job ON events (job) WHERE job <> ''")
    for name, rule in _REFUSALS.items():
        db.execute(f"CREATE TRIGGER {name} {rule}")


@migrations(name="0002_beside_the_events")
def create_other_tables(db: Database) -> None:
    """What stands beside the chain: erasable, rebuildable, or only about the database itself."""
    _create(db, "secrets", {"id": int, "reference": str, "value": bytes}, "id", {"reference", "value"})
    _create(
        db,
        "state_snapshots",
        {"position": int, "hash": bytes, "taken_ns": int, "schema": int, "data": bytes, "digest": bytes},
        "position",
        {"hash", "taken_ns", "schema", "data", "digest"},
    )
    _create(db, "recordings", {"id": int, "job": str, "created_ns": int, "data": bytes}, "id", {"job", "created_ns", "data"})
    _create(db, "written_by", {"schema": int, "docket": str}, "schema", {"docket"})
    _index(db, "secrets", "reference", unique=True)
    _index(db, "recordings", "job", unique=False)


@migrations(name="0003_views")
def create_views(db: Database) -> None:
    """The views for people. The last migration also notes which docket made this schema."""
    text = files("docket.event_store").joinpath("views.sql").read_text("utf-8")
    for name, select in re.findall(r"^CREATE VIEW (\w+) AS\n(.*?);$", text, re.DOTALL | re.MULTILINE):
        db.create_view(name, select)
    _finish(db, schema=1)


@migrations(name="0004_sealed_ranges")
def create_sealed_ranges(db: Database) -> None:
    """Ranges of events that lie in archives (`docket.event_store.ranges`), what may be deleted now, and an index of times."""
    table = db.table("sealed_ranges")
    assert isinstance(table, Table)
    columns = {
        "first": int,
        "last": int,
        "hash": bytes,
        "min_time": int,
        "max_time": int,
        "bytes": int,
        "digest": bytes,
        "kept": int,
    }
    table.create(columns, pk="first", not_null=set(columns) - {"first"}, strict=True)
    for name in set(_SEALED_REFUSALS) & set(_REFUSALS):
        db.execute(f"DROP TRIGGER {name}")
    for name, rule in _SEALED_REFUSALS.items():
        db.execute(f"CREATE TRIGGER {name} {rule}")
    db.execute("CREATE INDEX events_time ON events (time)")
    _finish(db, schema=2)


def _finish(db: Database, schema: int) -> None:
    db.execute("INSERT INTO written_by (schema, docket) VALUES (?, ?)", [schema, docket.__version__])
    db.execute(f"PRAGMA user_version = {schema}")  # part of the transaction: the number lies in the first page


def _create(db: Database, name: str, columns: dict[str, type], pk: str, not_null: set[str]) -> None:
    table = db.table(name)
    assert isinstance(table, Table)
    table.create(columns, pk=pk, not_null=not_null, strict=True)


def _index(db: Database, table_name: str, column: str, *, unique: bool) -> None:
    table = db.table(table_name)
    assert isinstance(table, Table)
    table.create_index([column], index_name=f"{table_name}_{column}", unique=unique)

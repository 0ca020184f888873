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

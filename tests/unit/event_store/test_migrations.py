"""The schema: triggers that keep events as they are, and the views for people."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from docket.domain.log import Batch
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore

INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, 1, ?, ?, ?, NULL, 'uid=0', x'00')"
REST = "type, schema, data, time, job, causation, actor, hash"


@pytest.fixture
def database(tmp_path: Path, codec: Codec) -> Iterator[sqlite3.Connection]:
    SqliteEventStore(tmp_path / "log.db", codec).close()
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def fill(database: sqlite3.Connection, *events: tuple[str, str, dict[str, object]]) -> None:
    """Insert (stream, type, fields); each a second after the one before."""
    versions: dict[str, int] = {}
    for position, (stream, name, fields) in enumerate(events, 1):
        versions[stream] = versions.get(stream, 0) + 1
        time = 1_700_000_000_000_000_000 + position * 1_000_000_000
        database.execute(INSERT, (position, stream, versions[stream], name, json.dumps(fields), time, "j1"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}'",
        "UPDATE events SET position = 9 WHERE position = 1",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 2",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE position = 1",
        f"REPLACE INTO events SELECT position, 'x', 1, {REST} FROM events LIMIT 1",
        f"REPLACE INTO events SELECT 3, stream, version, {REST} FROM events LIMIT 1",
        f"INSERT INTO events SELECT 4, 'x', 1, {REST} FROM events LIMIT 1",
        f"INSERT INTO events SELECT 3, stream, version, {REST} FROM events LIMIT 1",
    ],
)
def test_events_are_only_appended(database: sqlite3.Connection, statement: str) -> None:
    """No statement changes, removes, replaces or skips an event, from whatever connection."""
    fill(database, ("a", "Noted", {}), ("b", "Noted", {}))
    before = [tuple(row) for row in database.execute("SELECT * FROM events")]
    with pytest.raises(sqlite3.IntegrityError, match=r"events are (never|only)"):
        database.execute(statement)
    assert [tuple(row) for row in database.execute("SELECT * FROM events")] == before


def test_the_containers_view_shows_what_became_of_each(database: sqlite3.Connection) -> None:
    """Name, image, status, pid and exit code, folded by SQL."""
    created: dict[str, object] = {"container": "c1", "name": "web", "image": "alpine", "image_id": "sha256:1", "spec": {}}
    fill(
        database,
        ("container-c1", "ContainerCreated", created),
        (
            "container-c2",
            "ContainerCreated",
            {"container": "c2", "name": "db", "image_id": "sha256:1", "spec": {"image": "alpine"}},
        ),
        ("container-c3", "ContainerCreated", {**created, "container": "c3", "name": "tmp"}),
        ("container-c4", "ContainerCreated", {**created, "container": "c4", "name": "new"}),
        ("container-c1", "ContainerStarting", {"container": "c1"}),
        ("container-c1", "ContainerStarted", {"container": "c1", "pid": 77}),
        ("container-c1", "ContainerPaused", {"container": "c1"}),
        ("container-c1", "ContainerRenamed", {"container": "c1", "name": "www"}),
        ("container-c2", "ContainerStarted", {"container": "c2", "pid": 78}),
        ("container-c2", "ContainerExited", {"container": "c2", "exit_code": 3}),
        ("container-c3", "ContainerRemoved", {"container": "c3"}),
        ("container-c4", "ContainerStartFailed", {"container": "c4"}),
    )
    found = database.execute(
        "SELECT container, name, image, status, pid, exit_code FROM containers ORDER BY container"
    ).fetchall()
    assert [tuple(row) for row in found] == [
        ("c1", "www", "alpine", "paused", 77, None),
        ("c2", "db", "alpine", "exited", None, 3),
        ("c3", "tmp", "alpine", "removed", None, None),
        ("c4", "new", "alpine", "start failed", None, None),
    ]
    assert database.execute("SELECT created FROM containers").fetchone()[0] == "2023-11-14T22:13:21.000Z"


def test_the_images_view_shows_images_with_their_references(database: sqlite3.Connection) -> None:
    """A reference belongs to the image tagged last; removed images are gone, and come back without their old references."""
    fill(
        database,
        ("image-1", "ImageImported", {"image": "sha256:1", "size": 10}),
        ("image-2", "ImageImported", {"image": "sha256:2", "size": 20}),
        ("image-1", "ImageTagged", {"image": "sha256:1", "reference": "a:latest"}),
        ("image-1", "ImageTagged", {"image": "sha256:1", "reference": "a:1"}),
        ("image-2", "ImageTagged", {"image": "sha256:2", "reference": "a:latest"}),
        ("image-1", "ImageUntagged", {"image": "sha256:1", "reference": "a:latest"}),
        ("image-2", "ImageTagged", {"image": "sha256:2", "reference": "a:latest"}),
        ("image-3", "ImageImported", {"image": "sha256:3", "size": 30}),
        ("image-3", "ImageRemoved", {"image": "sha256:3"}),
    )
    found = database.execute('SELECT image, "references", size FROM images ORDER BY image').fetchall()
    assert [tuple(row) for row in found] == [("sha256:1", '["a:1"]', 10), ("sha256:2", '["a:latest"]', 20)]


def test_the_jobs_view_shows_who_asked_and_what_became_of_it(database: sqlite3.Connection) -> None:
    """Open, completed and failed jobs, with actor and duration."""
    fill(
        database,
        ("job-1", "JobAccepted", {"job": "1", "name": "start", "arguments": {"id": "c1"}}),
        ("job-2", "JobAccepted", {"job": "2", "name": "stop", "arguments": {}}),
        ("job-3", "JobAccepted", {"job": "3", "name": "pull", "arguments": {}}),
        ("job-1", "JobCompleted", {"job": "1"}),
        ("job-2", "JobFailed", {"job": "2", "message": "no such container"}),
    )
    found = database.execute("SELECT job, name, arguments, actor, status, message, duration_ms FROM jobs").fetchall()
    assert [tuple(row) for row in found] == [
        ("1", "start", '{"id":"c1"}', "uid=0", "completed", None, 3000.0),
        ("2", "stop", "{}", "uid=0", "failed", "no such container", 3000.0),
        ("3", "pull", "{}", "uid=0", "open", None, None),
    ]


def test_s57_the_kernel_calls_view_survives_hostile_recordings(database: sqlite3.Connection) -> None:
    """Lines become rows; a recording that is no JSON lines hides itself alone."""
    lines = b'{"recording":1}\n{"call":"launch","key":"k","arguments":{"a":1}}\n'
    lines += b'{"operation":["Mount","proc"],"duration_ns":5}\n{"operation":[],"errno":22}\n{"end":"return"}\n'
    for job, data in (("j1", lines), ("j2", b"]["), ("j3", b"\xff\xfe\n\0"), ("j4", b""), ("j5", b"1\n[2]\n"), ("j6", b"{}")):
        database.execute("INSERT INTO recordings (job, created_ns, data) VALUES (?, 0, ?)", (job, data))
    found = database.execute(
        "SELECT job, number, operation, arguments, errno, duration_ns FROM kernel_calls ORDER BY job, number"
    ).fetchall()
    assert [tuple(row) for row in found] == [
        ("j1", 2, "launch", '{"a":1}', 0, None),
        ("j1", 3, "Mount", '["Mount","proc"]', 0, 5),
        ("j1", 4, "undo", "[]", 22, None),
    ]


def test_snapshots_are_thinned_evenly(
    tmp_path: Path, codec: Codec, noted: Callable[..., Batch], append: Callable[..., None]
) -> None:
    """Their number is bounded; the newest stay, and old ones cover the history for time travel."""
    with SqliteEventStore(tmp_path / "snapshots.db", codec) as store:
        append(store, noted(*["a"] * 400))
        for position in range(10, 401, 10):
            store.save_snapshot(position, b"%d" % position)
        append(store, noted())
        kept = [row[0] for row in store._reader.execute("SELECT position FROM state_snapshots ORDER BY position")]
        assert len(kept) == 16
        assert kept[-2:] == [390, 400]
        assert max(b - a for a, b in pairwise(kept)) <= 80
        assert store.load_snapshot() == (400, b"400")

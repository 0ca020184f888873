"""`docket why`: causes as a table or as JSON, and what name means which object, asked of a log from a real kernel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Reply

from docket.cli.client import Client
from docket.cli.context import Context
from docket.cli.errors import EngineError
from docket.cli.offline import import_file, looked_at

Docket = Callable[..., "subprocess.CompletedProcess[str]"]
RECORDINGS = Path(__file__).parents[1] / "recordings"
IMAGE, LAYER, CONTAINER = "a" * 64, "b" * 64, "c" * 64
CAUSES = [
    {
        "object": f"image-{IMAGE}", "part": "", "why": "committed from", "leads_to": f"container-{CONTAINER}", "position": 9,
        "time_ns": 1767225600123456789, "job": "0123456789abcdef", "job_name": "commit", "arguments": [], "actor": "uid=0",
    },
    {
        "object": f"image-{IMAGE}", "part": f"layer sha256:{LAYER}", "why": "came with it", "leads_to": "", "position": 9,
        "time_ns": 1767225600123456789, "job": "0123456789abcdef", "job_name": "commit", "arguments": [], "actor": "uid=0",
    },
    {
        "object": f"container-{CONTAINER}", "part": "", "why": "before the log begins: events up to 5 are no longer kept",
        "leads_to": "", "position": 0, "time_ns": 0, "job": "", "job_name": "", "arguments": [], "actor": "",
    },
]  # fmt: skip


def test_why_prints_a_table(engine: FakeEngine, docket: Docket) -> None:
    """An object once, its parts below it, and nothing where nothing is known."""
    engine.on("GET", "/docket/why/host:5000/app:1", Reply(body=CAUSES))
    lines = docket("why", "host:5000/app:1").stdout.splitlines()
    assert lines[0].split() == ["OBJECT", "WHY", "POSITION", "TIME", "JOB", "BY"]
    assert lines[1].split() == [
        f"image-{IMAGE[:12]}", "committed", "from", f"container-{CONTAINER[:12]}", "9", "2026-01-01T00:00:00.123",
        "01234567", "commit", "uid=0",
    ]  # fmt: skip
    assert lines[2].startswith(f"  layer {LAYER[:12]}  ")
    assert lines[2].split()[2:6] == ["came", "with", "it", "9"]
    assert lines[3].startswith(f"container-{CONTAINER[:12]}  ")
    assert lines[3].rstrip().endswith("before the log begins: events up to 5 are no longer kept")
    assert LAYER in docket("why", "--no-trunc", "host:5000/app:1").stdout


def test_why_as_json_is_complete(engine: FakeEngine, docket: Docket) -> None:
    """Each line is a cause as the engine gave it; the type of object travels."""
    engine.on("GET", "/docket/why/app", Reply(body=CAUSES))
    assert [json.loads(line) for line in docket("why", "--json", "--type", "image", "app").stdout.splitlines()] == CAUSES
    assert engine.requests[-1].query == {"type": ["image"]}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("imported") / "log"
    import_file(str(RECORDINGS / "exec.jsonl"), str(directory))
    with looked_at(str(directory)) as address:
        yield Context(address).client()


def test_a_name_of_the_past_is_enough(recorded: Client) -> None:
    """The container was removed, its name is free: it leads back to its image all the same. So does the image by name and id."""
    causes = recorded.value("GET", "/docket/why/web")
    assert [each["why"].split(" ")[0] for each in causes] == ["removed", "created", "started", "imported"]
    assert all(each["actor"] for each in causes)
    image = causes[-1]["object"].removeprefix("image-")
    for name in ("docket/base", f"sha256:{image}", image[:12]):
        assert recorded.value("GET", f"/docket/why/{name}")[0]["object"] == f"image-{image}"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("nothing", 404, "No such object: nothing"),
        ("docket/base?type=container", 404, "No such container: docket/base"),
        ("web?type=image", 404, "No such image: web:latest"),
        ("web?type=volume", 400, "'volume' has no causes: type is container or image"),
    ],
)
def test_what_is_not_there_is_told(recorded: Client, path: str, status: int, text: str) -> None:
    """With the kind of object that was asked for."""
    name, _, query = path.partition("?")
    with pytest.raises(EngineError, match=text) as caught:
        recorded.value("GET", f"/docket/why/{name}", [tuple(query.split("="))] if query else [])  # type: ignore[list-item]
    assert caught.value.code == status

"""The CLI starts fast because it imports little: what each command loads is asserted, not measured."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from docket_program import environment
from engine_samples import CONTAINER, CONTAINERS, ID, IMAGES, INFO, VERSION
from fake_engine import FakeEngine, Reply, Request, frame, upgrade

# C modules of the standard library that cost next to nothing, and `contextlib` with what it needs where streams are attached.
LIGHT = {"__future__", "_json", "_signal", "_socket", "select", "termios", "errno"}
ATTACHED = LIGHT | {
    "contextlib", "collections", "functools", "types", "keyword", "operator", "reprlib", "itertools",
    "_collections", "_functools", "_operator",
}  # fmt: skip
REPORT = """
import os, sys
report = sys.argv[1]
before = set(sys.modules)
from docket.cli.main import run
run(sys.argv[2:])
loaded = sorted(set(sys.modules) - before)
with open(report, "w") as file:
    file.write("\\n".join(loaded))
"""


def modules(host: str, report: Path, *arguments: str) -> set[str]:
    """The modules outside docket that one command line imported."""
    subprocess.run(
        [sys.executable, "-c", REPORT, str(report), *arguments],
        env=environment(DOCKET_HOST=host), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30,
    )  # fmt: skip
    return {name for name in report.read_text().splitlines() if not name.startswith("docket")}


@pytest.fixture(autouse=True)
def rules(engine: FakeEngine) -> None:
    """An engine that serves what the commands below ask."""
    for path, body in (("/containers/json", CONTAINERS), ("/images/json", IMAGES), ("/version", VERSION), ("/info", INFO)):
        engine.on("GET", path, Reply(body=body))
    engine.on("GET", "/containers/web/json", Reply(body=CONTAINER))
    engine.on("POST", "/containers/web/(stop|start)", Reply(204))
    engine.on("DELETE", "/containers/web", Reply(204))
    engine.on("POST", "/containers/create", Reply(201, {"Id": ID, "Warnings": []}))
    engine.on("POST", f"/containers/{ID}/start", Reply(204))
    engine.on("POST", f"/containers/{ID}/wait", Reply(body={"StatusCode": 0, "Error": None}))
    engine.on("POST", "/containers/web/exec", Reply(201, {"Id": "e" * 64}))
    engine.on("GET", "/exec/e+/json", Reply(body={"ExitCode": 0}))

    def attach(request: Request, connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(frame(1, b"x"))

    engine.on("POST", "/(exec/e+/start|containers/[0-9a-f]+/attach)", attach)


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("ps -a", LIGHT),
        ("ps --format {{.ID}}", LIGHT),
        ("images", LIGHT),
        ("version", LIGHT),
        ("info", LIGHT),
        ("inspect web", LIGHT),
        ("stop web", LIGHT),
        ("rm web", LIGHT),
        ("run -d -v /a:/b --mount type=tmpfs,dst=/x -p 80 --ulimit nofile=5 busybox", LIGHT),
        ("--help", LIGHT),
        ("run --help", LIGHT),
        ("run --rm busybox", ATTACHED),
        ("exec web true", ATTACHED),
        ("ps --foo", LIGHT),
    ],
)
def test_a_command_imports_only_what_is_light(engine: FakeEngine, tmp_path: Path, words: str, allowed: set[str]) -> None:
    """No trio, msgspec, sqlite_utils, ssl, re, http.client, argparse, json or socket, and nothing else that is not listed."""
    loaded = modules(engine.host, tmp_path / "modules", *words.split(" "))
    assert loaded <= allowed, sorted(loaded - allowed)

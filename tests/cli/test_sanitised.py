"""S55: what an attacker put into names, errors, labels and events never acts on the user's terminal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from engine_samples import CONTAINER, CONTAINERS, EVENTS, IMAGES, INFO, LOG, STATS, VERSION
from fake_engine import FakeEngine, Reply

Docket = Callable[..., "subprocess.CompletedProcess[str]"]
# A title, a colour, an 8-bit control, a carriage return, a line feed, and text that reads backwards.
EVIL = "\x1b]0;owned\x07\x1b[31m\x9b31m\r\nx\u202eevil"


def poisoned(value: Any) -> Any:
    """The value with the attack in each string that is free text; ids, times and types keep their form."""
    if isinstance(value, dict):
        kept = (
            "Id",
            "id",
            "ID",
            "Created",
            "StartedAt",
            "FinishedAt",
            "read",
            "preread",
            "Type" if "PrivatePort" in value else "",
        )
        return {key: item if key in kept else poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return value + EVIL if isinstance(value, str) else value


@pytest.fixture(autouse=True)
def hostile(engine: FakeEngine) -> None:
    """An engine all of whose strings carry the attack."""
    engine.on("GET", "/.*", Reply(404, {"message": f"No such thing: {EVIL}"}))
    engine.on("POST", "/.*", Reply(409, {"message": f"name in use: {EVIL}"}))
    engine.on("GET", "/containers/json", Reply(body=poisoned(CONTAINERS)))
    engine.on("GET", "/images/json", Reply(body=poisoned(IMAGES)))
    engine.on("GET", "/containers/web/json", Reply(body=poisoned(CONTAINER)))
    engine.on("GET", "/containers/web/stats", Reply(body=poisoned(STATS)))
    engine.on("GET", "/containers/web/top", Reply(body={"Titles": ["PID", EVIL], "Processes": [["1", EVIL]]}))
    engine.on("GET", "/version", Reply(body=poisoned(VERSION)))
    engine.on("GET", "/info", Reply(body=poisoned(INFO)))
    engine.on("GET", "/events", Reply(chunks=[json.dumps(poisoned(EVENTS[0])).encode() + b"\n"]))
    engine.on("GET", "/docket/log", Reply(chunks=[json.dumps(poisoned(event)).encode() + b"\n" for event in LOG]))
    engine.on("GET", "/docket/explain/web", Reply(body=f"mount {EVIL}\n".encode()))
    engine.on("GET", "/docket/verify", Reply(body={"ok": False, "position": 3, "message": EVIL}))
    engine.on("POST", "/images/create", Reply(chunks=[json.dumps({"status": EVIL}).encode(), b'\n{"error":"\\u001b[31m"}\n']))
    engine.on("DELETE", "/images/x", Reply(body=[{"Untagged": EVIL}]))


@pytest.mark.parametrize(
    "words",
    [
        "ps -a", "ps -as --no-trunc", "ps --format json", "images --digests", "inspect web", "inspect nope", "version", "info",
        "events", "events --format json", "log", "log --json", "log -f", "log --no-trunc", "explain web", "audit verify",
        "stats --no-stream web", "top web", "pull x", "rmi x", "stop x", "start x", "run x", "create x", "rename a b", "logs x",
        "container inspect x",
        "ps --format table{{.Names}}",
    ],
)  # fmt: skip
def test_s55_no_control_byte_reaches_the_terminal(docket: Docket, words: str) -> None:
    """Nothing but printable characters and line ends comes out, on either stream."""
    done = docket(*words.split(" "))
    for text in (done.stdout, done.stderr):
        assert all(char.isprintable() or char == "\n" for char in text), repr(text)
    assert "Traceback" not in done.stderr


def test_s55_what_a_user_typed_is_made_safe_in_errors(docket: Docket) -> None:
    """Names that came from a listing and are typed back are shown escaped too."""
    for words in (("run", f"--{EVIL}"), ("run", "-m", EVIL, "x"), (EVIL,), ("container", EVIL), ("inspect", EVIL)):
        stderr = docket(*words).stderr
        assert all(char.isprintable() or char == "\n" for char in stderr), repr(stderr)

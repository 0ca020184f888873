"""docket's own commands: the event log, the past, and the engine that starts by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from docket_program import PROGRAM, environment, run_docket
from engine_samples import CONTAINERS, ID, LOG
from fake_engine import FakeEngine, Reply

from docket.cli.autostart import autostart
from docket.cli.errors import ConnectError

Docket = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def log(engine: FakeEngine) -> None:
    """An engine with two events."""
    engine.on("GET", "/docket/log", Reply(chunks=[json.dumps(event).encode() + b"\n" for event in LOG]))


def test_log_prints_a_table(docket: Docket) -> None:
    """Position, time, object, event, job, data."""
    lines = docket("log").stdout.splitlines()
    assert lines[0].split() == ["POSITION", "TIME", "OBJECT", "EVENT", "JOB", "DATA"]
    assert lines[1].split(None, 5) == [
        "7", "2026-01-01T00:00:00.123", f"container-{ID[:12]}", "ContainerCreated", "01234567",
        "name=web image=busybox env=ref-1",
    ]  # fmt: skip


def test_log_asks_for_what_was_asked(engine: FakeEngine, docket: Docket) -> None:
    """Every filter travels."""
    words = "--container web --job 01 --type ContainerCreated --image i --since 1 --until 2 -n 5 --after 3 -f"
    assert docket("log", *words.split(" ")).returncode == 0
    assert engine.requests[0].query == {
        "container": ["web"], "job": ["01"], "type": ["ContainerCreated"], "image": ["i"], "since": ["1"], "until": ["2"],
        "limit": ["5"], "after": ["3"], "follow": ["1"],
    }  # fmt: skip


def test_log_as_json_is_complete(docket: Docket) -> None:
    """Each line is the event as the engine gave it."""
    assert [json.loads(line) for line in docket("log", "--json").stdout.splitlines()] == LOG


def test_log_follow_prints_each_event_at_once(engine: FakeEngine) -> None:
    """A line does not wait for the next event."""
    import socket
    import threading

    from fake_engine import Request

    seen = threading.Event()

    def follow(request: Request, connection: socket.socket) -> None:
        first, second = (json.dumps(event).encode() + b"\n" for event in LOG)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(first), first))
        seen.wait(30)
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(second), second))

    engine.on("GET", "/docket/log", follow)
    program = subprocess.Popen(
        [*PROGRAM, "log", "-f"], env=environment(DOCKET_HOST=engine.host), stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline().startswith("POSITION")
    assert "ContainerCreated" in program.stdout.readline()
    seen.set()
    assert "ContainerStarted" in program.stdout.readline()
    program.stdout.close()
    assert program.wait(30) == 0


def test_explain_forget_and_verify(engine: FakeEngine, docket: Docket) -> None:
    """The three commands on the past."""
    engine.on("GET", "/docket/explain/web", Reply(body=b"unshare --pid\n\tmount -t overlay\n"))
    engine.on("POST", "/docket/forget/web", Reply(204))
    engine.on("GET", "/docket/verify", Reply(body={"events": 12, "head": 12, "ok": True}))
    assert docket("explain", "web").stdout == "unshare --pid\n\tmount -t overlay\n"
    assert docket("forget", "web").stdout == "web\n"
    assert docket("audit", "verify").stdout == "12 events verified, head at position 12: no event was altered\n"
    engine.on("GET", "/docket/verify", Reply(body={"ok": False, "position": 5, "message": "hash differs"}))
    done = docket("audit", "verify")
    assert (done.returncode, done.stderr) == (1, "docket: the log was altered at position 5: hash differs\n")


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("41", "41"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000000000Z"),
        ("2026-01-01", "2026-01-01T00:00:00.000000000Z"),
    ],
)
def test_at_is_a_position_or_a_time(engine: FakeEngine, docket: Docket, text: str, sent: str) -> None:
    """`--at` reaches all three commands that can look back."""
    engine.on("GET", "/(containers|images)/json", Reply(body=[]))
    engine.on("GET", "/containers/web/json", Reply(body=CONTAINERS[0]))
    for words in (("ps",), ("images",), ("inspect", "web")):
        assert docket(*words, "--at", text).returncode == 0
        assert engine.requests[-1].query == {"at": [sent]}


LISTENER = """
import socket, sys, os
print("starting", file=sys.stderr)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
assert os.getsid(0) == os.getpid() and os.getcwd() == "/"
listener.accept()
listener.accept()
"""


def test_autostart_returns_when_the_socket_answers(tmp_path: Path) -> None:
    """The engine runs in a session of its own, away from the user's directory, and its words are kept."""
    path = tmp_path / "run" / "docket.sock"
    autostart(str(path), [sys.executable, "-c", LISTENER, str(path)])
    assert (path.parent / "daemon.log").read_text() == "starting\n"
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_autostart_tells_why_an_engine_did_not_start(tmp_path: Path) -> None:
    """The engine's last line is the reason."""
    path = tmp_path / "docket.sock"
    program = "import sys; sys.exit('docket daemon: the database is of a newer schema')"
    with pytest.raises(ConnectError, match=r"the docket daemon ended: docket daemon: the database is of a newer schema$"):
        autostart(str(path), [sys.executable, "-c", program])


def test_daemon_help_lists_dockerds_flags() -> None:
    """The engine's flags are documented without importing the engine."""
    text = run_docket("daemon", "--help").stdout
    for flag in "config-file data-root exec-root group host insecure-registry insecure-tcp log-level pidfile tlsverify".split():
        assert f"--{flag}" in text

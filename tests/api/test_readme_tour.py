"""The README shows what really comes out: its tour and its first command are carried out and compared line by line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_daemon import Daemon
from tour import Comparison, Step, steps

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOCKET = "unix:///run/docket/docket.sock"
# These only look, and what they look at happens by itself: they are asked again until it has happened.
LOOKS = re.compile(r"(docket|docker)( -H \S+)? (logs|ps|log|audit)\b")
PATIENCE_SECONDS = 30
# The part of the tour that docker's client knows too.
SHARED = re.compile(r"docket (?=(run|exec|logs|kill|ps -a|rm|start)\b)")


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with an empty log, as the reader of the README has it."""
    running = Daemon(tmp_path_factory.mktemp("tour"))
    yield running
    for container in running.out("ps", "-aq").split():
        running.docker("rm", "-f", container)
    running.stop()


@pytest.mark.root
@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed")
@pytest.mark.parametrize("client", ["docket", "docker"])
def test_the_tour_of_the_readme_goes_as_written(fresh: Daemon, client: str) -> None:
    """Each command prints what the README says, with docket's client and, where it knows the command, with docker's."""
    tour = steps(README, "## A tour")
    assert len(tour) > 5
    comparison = Comparison()
    for step in tour:
        command = comparison.command(step.command)
        if client == "docker":
            command = SHARED.sub("docker ", command)
        _perform(fresh, command, step, comparison)


def _perform(daemon: Daemon, command: str, step: Step, comparison: Comparison) -> None:
    """Runs one command of the tour, again if it only looks, until it prints what the README says; fails when it does not."""
    patience = time.monotonic() + (PATIENCE_SECONDS if LOOKS.search(command) else 0)
    while True:
        output = _output(daemon, command)
        if comparison.agrees(step, output):
            return
        if time.monotonic() > patience:
            wanted = "\n".join(step.output)
            raise AssertionError(f"$ {command}\n--- the README says\n{wanted}\n--- but it is\n{output}")
        time.sleep(0.05)


def _output(daemon: Daemon, command: str) -> str:
    """What a shell of a person with both clients at hand shows, as if the daemon had its usual folders and socket."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DOCKET_HOST": daemon.host, "DOCKER_HOST": daemon.host, "TZ": "UTC"}
    done = subprocess.run(
        ["sh", "-c", f"exec 2>&1; {command.replace(SOCKET, daemon.host)}"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.replace(f"{daemon.root}/data", "/var/lib/docket").replace(f"{daemon.root}/exec", "/run/docket")


@pytest.mark.root
@pytest.mark.skipif(not (ROOT / ".venv/bin/docket").exists(), reason="needs the environment that scripts/setup makes")
def test_the_first_command_of_the_readme_ends_as_written() -> None:
    """`scripts/demo` shows a container's output and the events of its life, and leaves nothing running."""
    demo = subprocess.run(
        ["scripts/demo"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    assert demo.returncode == 0, demo.stderr
    printed = [part.split("\n", 1) for part in ("\n" + demo.stdout).split("\n$ ")[1:]]
    shown = steps(README, "## Try it")
    assert [command for command, _ in printed] == [step.command for step in shown]
    comparison = Comparison()
    for step, (_, output) in zip(shown, printed, strict=True):
        assert comparison.agrees(step, output.strip("\n")), output


@pytest.mark.parametrize(
    ("document", "output", "agree"),
    [
        (["0123456789ab  up"], "ba9876543210 up\n", True),
        (["0123456789ab  up"], "ba9876543210 down\n", False),
        (["0123456789ab", "0123456789ab"], "ba9876543210\nba9876543210\n", True),
        (["0123456789ab", "0123456789ab"], "ba9876543210\nba9876543211\n", False),
        (["a … c", "…", "z"], "a b c\nd\ne\nz\n", True),
        (["a … c", "…", "z"], "a b c\nd\ne\n", False),
        (["Up 2 minutes"], "Up Less than a second\n", True),
        ([], "something\n", False),
    ],
)
def test_a_comparison_accepts_only_what_may_differ(document: list[str], output: str, agree: bool) -> None:
    """Ids and ages may be others, but alike throughout; words, lines and their order may not."""
    assert Comparison().agrees(Step("ls", document), output) is agree

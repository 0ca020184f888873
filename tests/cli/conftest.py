"""Running the program as users do, as a process of its own, against a scripted engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine

PROGRAM = [sys.executable, "-c", "from docket.cli.main import main; main()"]
Docket = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**more: str) -> dict[str, str]:
    """An environment without the tester's own settings of engines."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "DOCKET_"))}
    return {**kept, "TZ": "UTC", **more}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    """A scripted engine that listens."""
    with FakeEngine(tmp_path) as fake:
        yield fake


@pytest.fixture
def docket(engine: FakeEngine) -> Docket:
    """Runs `docket` with its arguments against the scripted engine."""

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=environment(DOCKET_HOST=engine.host, **more),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run

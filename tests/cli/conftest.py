"""A scripted engine, and the program pointed at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The helper modules beside this file are no tests; under importlib mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parent))

from docket_program import run_docket
from fake_engine import FakeEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    """A scripted engine that listens."""
    with FakeEngine(tmp_path) as fake:
        yield fake


@pytest.fixture
def docket(engine: FakeEngine) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `docket` with its arguments against the scripted engine."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run_docket(*arguments, DOCKET_HOST=engine.host, **more)

    return run

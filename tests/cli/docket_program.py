"""The `docket` program as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = [sys.executable, "-c", "from docket.cli.main import main; main()"]


def environment(**more: str) -> dict[str, str]:
    """An environment without the tester's own settings of engines."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "DOCKET_"))}
    return {**kept, "TZ": "UTC", **more}


def run_docket(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Runs one command line to its end; `more` goes into the environment."""
    return subprocess.run(
        [*PROGRAM, *arguments], env=environment(**more), input=stdin, capture_output=True, text=True, timeout=60
    )

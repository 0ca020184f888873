"""A docket daemon for the tests of this folder, and the unmodified docker CLI that speaks to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

DAEMON = "import sys; from docket.cli.main import main; sys.argv[0] = 'docket'; main()"


class Daemon:
    """A daemon of the test's own, on its own roots and socket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = f"unix://{root}/docket.sock"
        self.start()

    def start(self) -> None:
        arguments = [
            "daemon", "--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec", "-H", self.host,
        ]  # fmt: skip
        self.process = subprocess.Popen([sys.executable, "-c", DAEMON, *arguments])
        for _ in range(200):
            if self.docker("version").returncode == 0:
                return
            assert self.process.poll() is None, "the daemon ended"
            time.sleep(0.05)
        raise AssertionError("the daemon does not answer")

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(20)

    def docker(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_HOST": self.host}
        return subprocess.run(
            ["docker", *arguments], input=stdin, env=environment, text=True, capture_output=True, timeout=60, check=False
        )

    def out(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.docker(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

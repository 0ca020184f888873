"""A docket daemon for the tests of this folder, and the unmodified docker CLI that speaks to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

DAEMON = "import sys; from docket.cli.main import main; sys.argv[0] = 'docket'; main()"


def _client_release() -> int:
    """The major version of the docker CLI that is installed; 0 when there is none."""
    if shutil.which("docker") is None:
        return 0
    told = subprocess.run(["docker", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    return int(told.split("version ", 1)[1].split(".", 1)[0])


CLIENT_RELEASE = _client_release()


def needs_client(release: int, what: str) -> pytest.MarkDecorator:
    """Skips a test of what older docker CLIs cannot do or do otherwise, such as the one of Debian 12 (20.10)."""
    reason = f"needs the docker CLI {release} or newer: {what}"
    return pytest.mark.skipif(release > CLIENT_RELEASE, reason=reason)


class _Connection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class Daemon:
    """A daemon of the test's own, on its own roots and socket."""

    program: tuple[str, ...] = ("docker",)
    """The client that `docker` runs."""

    def __init__(self, root: Path, *before: str, inherited: Sequence[int] = (), options: Sequence[str] = ()) -> None:
        """``before`` is a command that executes the daemon, such as ``unshare --mount``; it inherits descriptors."""
        self._options = tuple(options)
        self._inherited = tuple(inherited)
        self.root = root
        self._before = before
        self.host = f"unix://{root}/docket.sock"
        self.start()

    def start(self) -> None:
        arguments = [
            "daemon", "--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec", "-H", self.host, *self._options,
        ]  # fmt: skip
        self.process = subprocess.Popen([*self._before, sys.executable, "-c", DAEMON, *arguments], pass_fds=self._inherited)
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
            [*self.program, *arguments], input=stdin, env=environment, text=True, capture_output=True, timeout=60, check=False
        )

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request to the API itself: the status, and the answer's JSON."""
        connection = _Connection(f"{self.root}/docket.sock")
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else None
        finally:
            connection.close()

    def out(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.docker(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

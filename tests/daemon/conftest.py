"""Real daemons as processes of their own, each on its own roots and socket, waited for by what they log."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docket_program import PROGRAM, environment, run_docket

READY = "Daemon has completed initialization"
PATIENCE_SECONDS = 30


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docket", timeout=PATIENCE_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(self.path)


class Daemon:
    """One run of the daemon. Its standard error is read all the time, so that it can be waited for and never blocks it."""

    def __init__(
        self,
        root: Path,
        *arguments: str,
        hosts: bool = True,
        roots: bool = True,
        program: list[str] | None = None,
        **options: Any,
    ) -> None:
        self.root = root
        self.socket = f"{root}/docket.sock"
        self.host = f"unix://{self.socket}"
        own = ["--data-root", f"{root}/data", "--exec-root", f"{root}/exec"] if roots else []
        config = [] if "--config-file" in arguments else ["--config-file", str(_empty(root))]
        words = [*own, *config, *(["-H", self.host] if hosts else []), *arguments]
        options = {"env": environment(HOME=str(root)), **options}
        self.process = subprocess.Popen(
            [*(program or PROGRAM), "daemon", *words], stderr=subprocess.PIPE, text=True, bufsize=1, **options
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def wait_for(self, text: str, after: int = 0) -> str:
        """The first line behind the first ``after`` ones that holds the text."""
        with self._news:
            found: list[str] = []
            arrived = self._news.wait_for(
                lambda: found.extend(line for line in self.lines[after:] if text in line) or found, PATIENCE_SECONDS
            )
        assert arrived, f"never logged {text!r}: {self.lines}"
        return found[0]

    def ready(self) -> Daemon:
        self.wait_for(READY)
        return self

    def ended(self) -> tuple[int, str]:
        """The exit status, and all that was written to standard error."""
        status = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert not self._reader.is_alive(), "something that outlives the daemon holds its standard error"
        return status, "\n".join(self.lines)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.ended()

    def get(self, path: str) -> Any:
        return self.ask("GET", path)[1]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON body of one request over the unix socket."""
        connection = _UnixConnection(self.socket)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, json.loads(data) if data else None

    def docket(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run_docket("-H", self.host, *arguments, **more)

    def out(self, *arguments: str) -> str:
        done = self.docket(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """Ends the daemon and what runs in its containers, also when the test failed half-way and neither answers any more."""
        try:
            if self.process.poll() is None:
                for container in self.docket("ps", "-aq").stdout.split():
                    self.docket("rm", "-f", container)
                self.stop()
        finally:
            if self.process.poll() is None:
                self.stop(signal.SIGKILL)
            assert self.process.stderr is not None
            self.process.stderr.close()


def _empty(root: Path) -> Path:
    """No settings of the machine's own take part in a test."""
    path = root / "empty.json"
    path.write_text("{}")
    return path


Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts daemons, ``start(*arguments, root=…)``; all are ended at the end."""
    running: list[Daemon] = []

    def begin(*arguments: str, root: Path | None = None, **options: Any) -> Daemon:
        folder = root or tmp_path
        folder.mkdir(exist_ok=True)
        daemon = Daemon(folder, *arguments, **options)
        running.append(daemon)
        return daemon

    yield begin
    for daemon in reversed(running):
        daemon.close()

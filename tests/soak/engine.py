"""A daemon of the soak's own: started, killed, asked, and measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.client import ApiError, Client

_PROGRAM = "import sys; from docket.cli.main import main; sys.argv[0] = 'docket'; main()"
_PATIENCE_SECONDS = 60


class Engine:
    """One data root, and the daemon that runs on it at present."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = f"{root}/docket.sock"
        (root / "daemon.json").write_text("{}")
        self.first_answer = self.start()

    def start(self) -> float:
        """Start the daemon; returns the seconds until it answered."""
        began = time.monotonic()
        roots = ["--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec"]
        own = ["--config-file", f"{self.root}/daemon.json", "-H", f"unix://{self.socket}", "--log-level", "error"]
        self.process = subprocess.Popen([sys.executable, "-c", _PROGRAM, "daemon", *roots, *own])
        while True:
            self.client = Client(self.socket)
            try:
                self.client.call("GET", "/version")
                return time.monotonic() - began
            except (OSError, ApiError):
                self.client.close()
                assert self.process.poll() is None, "the daemon ended"
                assert time.monotonic() - began < _PATIENCE_SECONDS, "the daemon does not answer"
                time.sleep(0.01)

    def processor_seconds(self) -> float:
        """How long the daemon and the launcher have computed so far."""
        pids = [self.process.pid, *Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]
        ticks = 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        self.client.close()
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Tell it to end, and wait."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_PATIENCE_SECONDS)

    def sample(self) -> dict[str, int]:
        """What could grow."""
        pid = self.process.pid
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        return {
            "resident memory, bytes": int(status["VmRSS"].split()[0]) * 1024,
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": int(status["Threads"]),
            "child processes": len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()),
            "files outside the log": _count(self.root),
            "log, bytes": sum(path.stat().st_size for path in (self.root / "data").glob("log.db*")),
        }


def _count(root: Path) -> int:
    layers = root / "data/layers"
    return sum(
        len(directories) + len(files) for path, directories, files in os.walk(root) if not Path(path).is_relative_to(layers)
    )

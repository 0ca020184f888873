"""Other engines and tools, for the tests that images go between them and docket: podman and dockerd with data of their own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from docker_daemon import Daemon


def needs(*tools: str) -> pytest.MarkDecorator:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}: not installed")


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory with a short path: podman and containerd have sockets in theirs."""
    with tempfile.TemporaryDirectory(prefix="d") as path:
        yield Path(path)


def podman(data: Path, short: Path) -> list[str]:
    """The beginning of a podman command line."""
    return ["podman", "--root", f"{data}/podman", "--runroot", f"{short}/run", "--storage-driver", "vfs"]


@contextmanager
def dockerd(root: Path, unshared: Sequence[str] = ("--mount", "--net")) -> Iterator[Daemon]:
    """Docker's own engine, in namespaces of its own; it only stores images here. ``root`` is a short path."""
    host = f"unix://{root}/docket.sock"
    command = [
        "unshare", *unshared, "dockerd", "--data-root", f"{root}/data", "--exec-root", f"{root}/exec", "-H", host,
        "--pidfile", f"{root}/pid", "--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs",
    ]  # fmt: skip
    engine = Daemon.__new__(Daemon)
    engine.root, engine.host = root, host
    with open(root / "log", "w") as log:
        engine.process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        for _ in range(300):
            if engine.docker("version").returncode == 0:
                break
            assert engine.process.poll() is None, (root / "log").read_text()
            time.sleep(0.1)
        yield engine
    finally:
        engine.stop()

"""Debian's docker-registry on loopback: plain, with a password (htpasswd), with tokens of the tests' own issuer, or with TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAM = shutil.which("docker-registry")
needs_registry = pytest.mark.skipif(PROGRAM is None, reason="needs docker-registry: apt-get install docker-registry")

# bcrypt of "secret", which htpasswd -B would write.
HTPASSWD = "me:$2y$05$zr3rLMqTqKRVQ0.1bRBT0e2U1dBXRG9SchzUNRo5YBoxnUZhZ.9bK\n"


class DebianRegistry:
    """One registry process with its data below ``root``."""

    def __init__(self, root: Path, auth: str = "", tls: tuple[Path, Path] | None = None) -> None:
        """``auth`` is the configuration's auth section; ``tls`` certificate and key."""
        assert PROGRAM is not None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        root.mkdir(parents=True, exist_ok=True)
        secure = f"\n  tls:\n    certificate: {tls[0]}\n    key: {tls[1]}" if tls else ""
        (root / "config.yml").write_text(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
            f"storage:\n  filesystem:\n    rootdirectory: {root}/data\n  delete:\n    enabled: true\n"
            f"http:\n  addr: {self.host}{secure}\n{auth}"
        )
        self.log = (root / "log").open("wb")
        self.process = subprocess.Popen(
            [PROGRAM, "serve", str(root / "config.yml")], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(400):
            assert self.process.poll() is None, Path(self.log.name).read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the registry does not listen")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.log.close()

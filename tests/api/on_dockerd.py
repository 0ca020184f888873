"""Runs the tests of this folder against Docker's own engine, which tests the tests.

    PYTHONPATH=tests/api pytest -p on_dockerd tests/api/test_logs.py

Not part of any run: it needs dockerd, and what a test says of docket alone fails there (docs/conformance.md has the result).
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import docker_daemon

_NETWORK = ["--bridge", "none", "--iptables=false", "--ip6tables=false"]


class Dockerd(docker_daemon.Daemon):
    """dockerd on roots of its own, with an image by the name of docket's."""

    def start(self) -> None:
        root = self.root
        own = ["--data-root", f"{root}/data", "--exec-root", f"{root}/exec", "--pidfile", f"{root}/pid", "-H", self.host]
        with open(f"{root}/dockerd.log", "a") as log:
            self.process = subprocess.Popen(["dockerd", *own, *_NETWORK, "--storage-driver", "overlay2"], stderr=log)
        for _ in range(400):
            if self.docker("version").returncode == 0:
                break
            assert self.process.poll() is None, "dockerd ended"
            time.sleep(0.1)
        if self.docker("image", "inspect", "docket/base").returncode:
            self._import(root / "rootfs")
        (root / "exec" / "containers").mkdir(exist_ok=True)

    def _import(self, rootfs: Path) -> None:
        for folder in ("bin", "tmp", "proc", "sys", "dev", "etc", "root", "usr"):
            (rootfs / folder).mkdir(parents=True)
        program = rootfs / "bin" / "busybox"
        program.write_bytes(Path("/bin/busybox").read_bytes())
        program.chmod(0o755)
        applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True, timeout=60).stdout.split()
        for applet in applets:
            if applet != "busybox":
                os.symlink("busybox", rootfs / "bin" / applet)
        (rootfs / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (rootfs / "etc" / "group").write_text("root:x:0:\n")
        archive = f"{self.root}/rootfs.tar"
        subprocess.run(["tar", "-C", str(rootfs), "-cf", archive, "."], check=True, timeout=60)
        self.out("import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", archive, "docket/base")


docker_daemon.Daemon = Dockerd  # type: ignore[misc]

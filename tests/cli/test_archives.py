"""`save`, `load`, `history`, `image prune` and `system df` of docket's own command line, against a real daemon."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docket_program import PROGRAM, run_docket

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """A daemon with the embedded image."""
    where = f"unix://{tmp_path}/s"
    options = ["--data-root", f"{tmp_path}/data", "--exec-root", f"{tmp_path}/exec", "-H", where]
    with open(tmp_path / "log", "w") as log:
        daemon = subprocess.Popen([*PROGRAM, "daemon", *options], stdout=log, stderr=log)
    for _ in range(200):
        if run_docket("version", DOCKET_HOST=where, DOCKER_HOST=where).returncode == 0:
            break
        time.sleep(0.05)
    yield where
    daemon.terminate()
    daemon.wait(20)


def test_an_image_goes_out_and_comes_back(host: str, tmp_path: Path) -> None:
    """Into a file that is whole or not there; history tells what happened, prune what went."""

    def docket(*words: str) -> str:
        done = run_docket("-H", host, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    archive = tmp_path / "base.tar"
    docket("run", "--rm", "docket/base", "true")
    docket("save", "-o", str(archive), "docket/base")
    assert archive.stat().st_size % 10240 == 0
    assert run_docket("-H", host, "save", "-o", str(tmp_path / "no.tar"), "nothing").returncode == 1
    assert sorted(name for name in os.listdir(tmp_path) if name.endswith((".tar", ".partial"))) == ["base.tar"]
    assert docket("load", "-q", "-i", str(archive)) == "Loaded image: docket/base:latest\n"
    assert "ImageSaved" in docket("history", "--events", "docket/base")
    assert "Images" in docket("system", "df")
    assert "docket/base" in docket("system", "df", "-v")
    assert "untagged: docket/base:latest" in docket("image", "prune", "-af")
    assert docket("image", "prune", "-f") == "Total reclaimed space: 0B\n"

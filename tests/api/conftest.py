"""The daemon that the tests of one file share."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from docker_daemon import Daemon
from tests.oracle import Oracle, descriptors_of

_PATIENCE_SECONDS = 5.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Without containers it holds what it held before the first one; when it has stopped, nothing of it is left."""
    root = tmp_path_factory.mktemp("docket")
    oracle = Oracle(root)
    running = Daemon(root)
    before = descriptors_of(running.process.pid)
    yield running
    for container in running.out("ps", "-aq").split():
        running.docker("rm", "-f", container)
    kept = _kept(running, before)
    running.stop()
    assert kept == []
    assert oracle.leaks() == []


def _kept(daemon: Daemon, before: list[str]) -> list[str]:
    """Descriptors that the daemon has more than before, once it has come to rest."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        more = descriptors_of(daemon.process.pid)
        for kind in before:
            if kind in more:
                more.remove(kind)
        if not more or time.monotonic() > end:
            return more
        time.sleep(0.05)

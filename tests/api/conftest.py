"""The daemon that the tests of one file share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from docker_daemon import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("docket"))
    yield running
    for container in running.out("ps", "-aq").split():
        running.docker("rm", "-f", container)
    running.stop()
    assert not os.listdir(running.root / "exec" / "containers")

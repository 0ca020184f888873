"""``--log-driver`` and ``--log-opt``: what is kept of a container's output."""

from __future__ import annotations

import os
import shutil

import pytest
from docker_daemon import Daemon
from stream_clients import IMAGE

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


def test_size_and_number_of_files_are_the_containers_own(daemon: Daemon) -> None:
    """The newest output stays, in as much room as was asked for; inspect tells."""
    options = ["--log-opt", "max-size=100k", "--log-opt", "max-file=2"]
    daemon.out("run", "--name", "small", *options, IMAGE, "seq", "1", "200000")
    lines = daemon.out("logs", "small").split()
    assert lines[-1] == "200000"
    assert 10_000 < len(lines) < 40_000
    assert lines[1:] == [str(number) for number in range(200_000 - len(lines) + 2, 200_001)]
    path = daemon.out("inspect", "-f", "{{.LogPath}}", "small")
    files = [name for name in os.listdir(os.path.dirname(path)) if name.startswith("container.log")]
    assert sorted(files) == ["container.log", "container.log.1"]
    shown = daemon.out("inspect", "-f", "{{json .HostConfig.LogConfig}}", "small")
    assert shown == '{"Type":"json-file","Config":{"max-file":"2","max-size":"100k"}}'


def test_the_driver_none_keeps_nothing(daemon: Daemon) -> None:
    """Output still reaches who is attached; logs say that there are none to read."""
    assert daemon.out("run", "--name", "mute", "--log-driver", "none", IMAGE, "echo", "heard") == "heard"
    assert "configured logging driver does not support reading" in daemon.docker("logs", "mute").stderr
    assert not os.path.exists(daemon.out("inspect", "-f", "{{.LogPath}}", "mute"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--log-driver", "syslog"], "no log driver named 'syslog' is registered"),
        (["--log-opt", "max-size=much"], "invalid size: 'much'"),
        (["--log-opt", "max-size=-1"], "must be a positive size"),
        (["--log-opt", "max-file=0"], "invalid log opt max-file '0'"),
        (["--log-opt", "tag=x"], "unknown log opt 'tag' for json-file log driver"),
        (["--log-opt", "mode=non-blocking"], "unknown log opt 'mode'"),
    ],
)
def test_what_cannot_be_kept_is_refused(daemon: Daemon, options: list[str], text: str) -> None:
    """No option is dropped silently."""
    done = daemon.docker("run", "--rm", *options, IMAGE, "true")
    assert done.returncode == 125
    assert text in done.stderr

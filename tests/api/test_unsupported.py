"""Options that this engine does not have are refused with the reason: nothing is dropped silently, and nothing is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from docker_daemon import Daemon, needs_client
from stream_clients import IMAGE

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="no docker CLI is installed"),
]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--restart", "always"], "restart policy 'always' is not supported yet"),
        (["-p", "80:80"], "publishing ports needs a bridge network"),
        (["-P"], "publishing ports needs a bridge network"),
        (["--link", "other:o"], "--link needs a bridge network"),
        (["--mac-address", "02:42:ac:11:00:02"], "needs a bridge network"),
        pytest.param(
            ["--ip", "10.0.0.1"], "IPAMConfig needs a bridge network", marks=needs_client(25, "older ones drop it themselves")
        ),
        (["--network", "bridge"], "network bridge is not supported yet"),
        (["--volumes-from", "other"], "--volumes-from: volumes are not supported yet"),
        (["-v", "/anonymous"], "anonymous volume '/anonymous' is not supported yet"),
        (["-v", "named:/x"], "named volume 'named' is not supported yet"),
        (["--volume-driver", "x"], "--volume-driver: volumes are not supported yet"),
        (["--health-cmd", "true"], "health checks are not supported yet"),
        (["--gpus", "all"], "device requests are not supported"),
        (["--runtime", "runc"], "unknown or invalid runtime name: runc"),
        (["--storage-opt", "size=1g"], "--storage-opt is not supported"),
        (["--memory-swappiness", "10"], "--memory-swappiness is not supported"),
        (["--cpu-rt-runtime", "1000"], "no realtime limits"),
        (["--blkio-weight-device", "/dev/null:10"], "--blkio-weight-device is not supported"),
        (["--isolation", "hyperv"], "invalid isolation"),
        (["--platform", "linux/s390x", "--pull", "never"], "does not match the specified platform"),
    ],
)
def test_an_option_that_cannot_be_kept_is_refused(daemon: Daemon, options: list[str], text: str) -> None:
    """With 125, before anything exists."""
    done = daemon.docker("run", "--name", "refused", *options, IMAGE, "true")
    assert done.returncode == 125
    assert text in done.stderr
    assert daemon.out("ps", "-aq") == ""


def test_what_asks_for_nothing_is_accepted(daemon: Daemon, tmp_path: Path) -> None:
    """Clients send every field of their types; the neutral value of each is no request."""
    host = {
        "MemorySwappiness": -1, "Runtime": "", "Links": None, "VolumesFrom": [], "PortBindings": {}, "PublishAllPorts": False,
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}, "StorageOpt": None, "DeviceRequests": None, "CgroupParent": "",
        "Isolation": "default", "ConsoleSize": [0, 0], "NetworkMode": "default", "LogConfig": {"Type": "", "Config": {}},
        "Binds": [f"{tmp_path}:/data"],
    }  # fmt: skip
    body = {
        "Image": IMAGE, "Cmd": ["true"], "HostConfig": host, "Healthcheck": {"Test": ["NONE"]}, "Volumes": {"/data": {}},
        "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": None, "Links": None, "Aliases": None}}},
    }  # fmt: skip
    status, answer = daemon.request("POST", "/v1.47/containers/create?platform=linux", body)
    assert status == 201, answer
    assert answer["Warnings"] == []
    daemon.out("rm", answer["Id"])

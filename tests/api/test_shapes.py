"""Answers against the Engine API's own description of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker_daemon import Daemon
from shapes import findings, read_shapes
from stream_clients import IMAGE, connect

pytestmark = [pytest.mark.root]

SHAPES = read_shapes()

_NULL_IN_DOCKER = {
    "Config.Entrypoint", "NetworkSettings.Networks{}.Links", "NetworkSettings.Networks{}.Aliases",
    "NetworkSettings.Networks{}.DNSNames", "Plugins.Authorization", "ExitCode", "Error",
    *(
        f"HostConfig.{name}"
        for name in (
            "VolumesFrom Links DeviceRequests MemorySwappiness CapAdd CapDrop ExtraHosts GroupAdd SecurityOpt "
            "BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps DeviceCgroupRules"
        ).split()
    ),
}  # fmt: skip
"""Described as a list or text, and null where dockerd has nothing to say."""

_LEFT_OUT = {
    "containers": {"[].Mounts[].Driver", "[].Mounts[].Name", "[].ImageManifestDescriptor"},
    "container": {
        "HostConfig.Annotations", "HostConfig.KernelMemoryTCP", "HostConfig.Mounts", "HostConfig.StorageOpt",
        "Mounts[].Driver", "Mounts[].Name", "Config.Healthcheck", "ImageManifestDescriptor",
    },
    "info": {
        "ContainerdCommit", "DefaultAddressPools", "DiscoveredDevices", "GenericResources", "IPv4Forwarding", "InitCommit",
        "KernelMemoryTCP", "RuncCommit",
    },
    "images": {"[].Descriptor", "[].Manifests"},
    "image": {"Config.Healthcheck", "Descriptor"},
    "image_deleted": {"[].Deleted", "[].Untagged"},
    "stats": {"memory_stats.stats"},
}  # fmt: skip
"""Fields that dockerd leaves out too when they are empty, or that belong to parts this engine does not have."""

_BESIDE = {"info": {"Docket"}, "event": {"status", "id", "from"}, "stats": {"pressure_stats"}}
"""docket's own, and the names of API 1.21 that docker-py and compose still read."""


@pytest.fixture(scope="module")
def answers(daemon: Daemon) -> Iterator[dict[str, list[Any]]]:
    """Answers of each kind, from a container in each state."""
    with connect(daemon) as client:
        api = client.api

        def get(path: str) -> Any:
            return api._result(api._get(api._url(path)), json=True)

        options: dict[str, Any] = {
            "volumes": {"/tmp": {"bind": "/x", "mode": "ro"}}, "tmpfs": {"/t": "size=1m"}, "labels": {"a": "b"}, "cap_add": ["ALL"],
            "ulimits": [docker.types.Ulimit(name="nofile", soft=10, hard=20)], "environment": {"A": "b"}, "dns": ["10.0.0.1"],
        }  # fmt: skip
        made = client.containers.run(IMAGE, ["sleep", "1000"], name="shaped", detach=True, **options)
        exec_id = api.exec_create(made.id, ["true"])["Id"]
        found: dict[str, list[Any]] = {"exec": [get(f"/exec/{exec_id}/json")], "container": [], "containers": []}
        api.exec_start(exec_id)
        found["exec"].append(get(f"/exec/{exec_id}/json"))
        found["stats"] = [get("/containers/shaped/stats?stream=0")]
        found["top"] = [get("/containers/shaped/top")]
        client.containers.create(IMAGE, ["true"])
        for act in (made.pause, made.unpause, made.kill, made.start):
            act()
            found["container"].append(get("/containers/shaped/json"))
            found["containers"].append(get("/containers/json?all=1"))
        found["info"] = [get("/info")]
        found["version"] = [get("/version")]
        found["images"] = [get("/images/json")]
        found["image"] = [get(f"/images/{IMAGE}/json")]
        found["created"] = [api.create_container(IMAGE, ["true"])]
        made.stop(timeout=0)
        found["waited"] = [made.wait()]
        made.remove()
        client.images.get(IMAGE).tag("shaped:1")
        found["image_deleted"] = [api.remove_image("shaped:1")]
        found["event"] = list(client.events(since=1, until=int(time.time()) + 1, decode=True))
        yield found


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_answers_have_the_described_shape(answers: dict[str, list[Any]], kind: str) -> None:
    """No field of another type, none that clients do not know, and none missing but those listed here."""
    expected = {f"missing {path}" for path in _LEFT_OUT.get(kind, ())} | {f"unknown {path}" for path in _BESIDE.get(kind, ())}
    expected |= {f"null {prefix}{path}" for path in _NULL_IN_DOCKER for prefix in ("", "[].")}
    for answer in answers[kind]:
        assert findings(SHAPES[kind], answer) - expected == set()
    assert answers[kind]


def test_the_check_finds_what_is_wrong() -> None:
    """A wrong type, an unknown field, a null, and a missing field are each told."""
    shape = {"": ("object",), "a": ("string",), "b": ("array", "null"), "b[]": ("object",), "b[].c": ("integer",)}
    assert findings(shape, {"a": 1, "x": 2}) == {"type a", "unknown x"}
    assert findings(shape, {"a": None, "b": [{"c": True}]}) == {"null a", "type b[].c"}
    assert findings(shape, {"a": "", "b": [{}]}) == {"missing b[].c"}

"""The image config is read and written with OCI's names and Docker's additions."""

import json
from typing import Any

import pytest

from docket.domain.oci.digest import Digest
from docket.domain.oci.image_config import (
    Empty,
    ExecutionParameters,
    Healthcheck,
    History,
    ImageConfig,
    RootFS,
    decode_image_config,
    encode_image_config,
)
from docket.domain.oci.strict_json import InvalidDocument

DIFF_ID = Digest("sha256:" + "d" * 64)
MINIMAL: dict[str, Any] = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]}}


def decode(**changes: Any) -> ImageConfig:
    """The minimal config with other members."""
    return decode_image_config(json.dumps({**MINIMAL, **changes}).encode())


def test_a_config_as_docker_writes_it_is_read() -> None:
    """Nulls, Docker's own members and unknown ones are no obstacle."""
    config = decode(
        created="2026-01-01T00:00:00Z",
        container_config={"Cmd": ["/bin/sh"]},
        docker_version="20.10",
        history=[{"created_by": "x", "empty_layer": True}],
        config={
            "Hostname": "",
            "Env": ["PATH=/bin"],
            "Cmd": ["sh"],
            "Entrypoint": None,
            "Volumes": None,
            "ExposedPorts": {"80/tcp": {}},
            "WorkingDir": "/w",
            "User": "1:2",
            "Labels": {"a": "b"},
            "OnBuild": None,
            "StopSignal": "SIGINT",
            "StopTimeout": 3,
            "Shell": ["/bin/bash", "-c"],
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5},
        },
    )
    assert config.history == (History(created_by="x", empty_layer=True),)
    assert config.config == ExecutionParameters(  # noqa: S604 - an image has a field of that name, nothing runs
        user="1:2",
        exposed_ports={"80/tcp": Empty()},
        env=("PATH=/bin",),
        cmd=("sh",),
        healthcheck=Healthcheck(("CMD", "x"), interval=5),
        working_dir="/w",
        labels={"a": "b"},
        stop_signal="SIGINT",
        stop_timeout=3,
        shell=("/bin/bash", "-c"),
    )


def test_what_is_written_has_ocis_names_and_reads_back() -> None:
    """Other tools find the members where the specification puts them, and equal configs have equal bytes."""
    config = ImageConfig(
        "arm64",
        "linux",
        RootFS("layers", (DIFF_ID,)),
        ExecutionParameters(env=("A=b",), volumes={"/v": Empty()}),
        os_version="1",
    )
    data = encode_image_config(config)
    assert json.loads(data) == {
        "architecture": "arm64",
        "os": "linux",
        "os.version": "1",
        "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
        "config": {"Env": ["A=b"], "Volumes": {"/v": {}}},
    }
    assert decode_image_config(data) == config
    assert encode_image_config(decode_image_config(data)) == data


def test_s31_labels_and_unknown_members_steer_nothing() -> None:
    """There is no field for a mount, a device, a capability or a hook, so nothing in an image can ask for one."""
    hostile = {"HostConfig": {"Binds": ["/:/x"]}, "CapAdd": ["ALL"], "Labels": {"docket.privileged": "true"}}
    config = decode(config=hostile, mounts=[{"source": "/"}], hooks={})
    assert config == decode(config={"Labels": {"docket.privileged": "true"}})


@pytest.mark.parametrize(
    "config",
    [
        {"Env": ["A=\0"]},
        {"Cmd": ["a\0b"]},
        {"Labels": {"a": "\0"}},
        {"User": "x\0"},
        {"WorkingDir": "/" * 5000},
        {"Labels": {"a": "x" * 1_000_000}},
        {"Env": ["A=" + "x" * 200_000]},
        {"Cmd": "sh"},
        {"Env": [1]},
        {"ENV": []},
        {"Labels": {"a": "\ud800"}},
    ],
)
def test_s32_oversized_and_unusable_strings_are_refused(config: dict[str, Any]) -> None:
    """What the kernel could not take, and what only fills memory, stops at the door."""
    with pytest.raises(InvalidDocument):
        decode(config=config)


@pytest.mark.parametrize(
    "change", [{"rootfs": {"type": "x", "diff_ids": []}}, {"rootfs": {"type": "layers", "diff_ids": ["x"]}}, {"os": None}]
)
def test_s25_wrong_layers_are_refused(change: dict[str, Any]) -> None:
    """Diff ids are digests, since they become names of directories."""
    with pytest.raises(InvalidDocument):
        decode(**change)

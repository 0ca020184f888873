"""The image config: what an image says about itself and about running it. Its digest is the image id.

The struct is one reading of the blob; the blob's bytes are the truth and are stored as they came. Nothing in it steers the
engine (S31): unknown members, labels and annotations are data for people. Docker's additions to the OCI fields (`Healthcheck`,
`OnBuild`, `Shell`, `StopTimeout`) are read and written; `null` and absent mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from docket.domain.oci.digest import DigestField
from docket.domain.oci.strict_json import InvalidDocument, decode_strict

MAX_LABEL_BYTES = 256 * 1024
MAX_ENV_BYTES = 128 * 1024
"""Linux takes no longer single string in an environment (MAX_ARG_STRLEN)."""


class Empty(msgspec.Struct, frozen=True):
    """The empty object that stands for membership in `exposed_ports` and `volumes`."""


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """How to ask a container whether it works. Times are nanoseconds; 0 means the engine's default."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ExecutionParameters(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """The defaults for containers of the image. Empty means that the image says nothing."""

    user: str = ""
    exposed_ports: dict[str, Empty] = {}
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    volumes: dict[str, Empty] = {}
    working_dir: str = ""
    labels: dict[str, str] = {}
    on_build: tuple[str, ...] = ()
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: tuple[str, ...] = ()


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one layer came to be. `created` is an RFC 3339 time."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, frozen=True):
    """The layers of the image, bottom first, by the digests of their uncompressed archives."""

    type: Literal["layers"]
    diff_ids: tuple[DigestField, ...]


class ImageConfig(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"os_version": "os.version", "os_features": "os.features"}
):
    """The config blob of an image."""

    architecture: str
    os: str
    rootfs: RootFS
    config: ExecutionParameters = ExecutionParameters()
    history: tuple[History, ...] = ()
    created: str = ""
    author: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()


def decode_image_config(data: bytes) -> ImageConfig:
    """Returns the image config in ``data``; raises `InvalidDocument`."""
    config = decode_strict(data, ImageConfig, "image config")
    for field, text, limit in _strings(config.config):
        if "\0" in text:
            raise InvalidDocument(f"image config: {field} contains a NUL character")
        if limit and len(text.encode()) > limit:
            raise InvalidDocument(f"image config: {field} is longer than {limit} bytes")
    return config


def encode_image_config(config: ImageConfig) -> bytes:
    """Returns the blob: JSON with sorted keys, so that equal configs have equal image ids."""
    return msgspec.json.encode(config, order="sorted")


def _strings(config: ExecutionParameters) -> Iterator[tuple[str, str, int]]:
    """Every string that reaches the kernel or a person, with its field and the number of bytes that it may have."""
    yield "User", config.user, 0
    yield "WorkingDir", config.working_dir, 4096
    yield "StopSignal", config.stop_signal, 0
    for field, texts in (("Cmd", config.cmd), ("Entrypoint", config.entrypoint), ("Env", config.env), ("Shell", config.shell)):
        for text in texts or ():
            yield field, text, MAX_ENV_BYTES
    for name, value in config.labels.items():
        yield f"label {name[:60]!r}", name + value, MAX_LABEL_BYTES
    for path in config.volumes:
        yield "Volumes", path, 4096

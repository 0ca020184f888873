"""Documents: an image's config and manifests, the changes of an import, and JSON as the server and the light processes read it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from tests.fuzz.mutation import Mixer, mutate_bytes, mutate_json_text, mutate_lines
from tests.fuzz.targets import Target

from docket.adapters.http import HttpError, json_body
from docket.cli.json_light import dumps, dumps_indented
from docket.domain import compact_json
from docket.domain.errors import Rejected
from docket.domain.oci.changes import apply_changes
from docket.domain.oci.image_config import ExecutionParameters, decode_image_config, encode_image_config
from docket.domain.oci.manifest import OCI_INDEX, OCI_MANIFEST, decode_manifest
from docket.domain.oci.strict_json import InvalidDocument

_DIGEST = "sha256:" + "a" * 64
_CONFIG = {
    "architecture": "amd64", "os": "linux", "variant": "v8", "os.version": "1", "os.features": ["f"],
    "created": "2026-01-01T00:00:00Z", "author": "a", "rootfs": {"type": "layers", "diff_ids": [_DIGEST]},
    "history": [{"created_by": "x", "empty_layer": True}],
    "config": {
        "User": "1", "Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": None, "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}}, "WorkingDir": "/", "StopSignal": "TERM", "OnBuild": ["RUN x"],
        "Healthcheck": {"Test": ["NONE"], "Interval": 1},
    },
}  # fmt: skip
_DESCRIPTOR = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _DIGEST, "size": 5}
_MANIFEST = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": _DESCRIPTOR,
    "layers": [_DESCRIPTOR],
    "annotations": {"a": "b"},
}
_INDEX = {
    "schemaVersion": 2, "mediaType": OCI_INDEX,
    "manifests": [{**_DESCRIPTOR, "platform": {"architecture": "amd64", "os": "linux", "os.features": ["f"]}}],
}  # fmt: skip
_CHANGES = (
    b'CMD ["a","b"]\nENTRYPOINT sh -c x', b'ENV A=b C="d $A ${X:-y}" E f\nLABEL a=b "c d"=\'e\'',
    b"EXPOSE 80 81/udp 90-95/tcp\nVOLUME /a b",
    b"WORKDIR a/../b\nUSER 1:2\nSTOPSIGNAL SIGTERM\nONBUILD RUN x\nHEALTHCHECK NONE",
)  # fmt: skip


def _documents() -> list[bytes]:
    return [*(json.dumps(each).encode() for each in (_CONFIG, _MANIFEST, _INDEX)), *_CHANGES]


def _document(data: bytes) -> None:
    try:
        config = decode_image_config(data)
        assert decode_image_config(encode_image_config(config)) == config
    except InvalidDocument:
        pass
    for media_type in (OCI_MANIFEST, OCI_INDEX):
        try:
            msgspec.json.encode(decode_manifest(data, media_type))
        except InvalidDocument:
            continue
    try:
        applied = apply_changes(ExecutionParameters(env=("PATH=/bin",)), data.decode("utf-8", "replace").split("\n"))
        msgspec.json.encode(applied)
    except Rejected:
        return


def _mutate_document(mixer: Mixer, data: bytes) -> bytes:
    if data.startswith(b"{"):
        return mutate_json_text(mixer, data)
    return mutate_lines(mixer, data) if mixer.dice.random() < 0.3 else mutate_bytes(mixer, data)


# JSON: what the strict reader takes, every other reader takes, and takes for the same.

_JSON = (
    b'{"a":[1,-2.5e3,true,false,null,"\\u00e9\\ud83d\\ude00"],"b":{}}', b'[[[[{"":[]}]]]]', b'"\xc3\xa9"', b" 1 ", b"[1e400]",
    b'{"a":1,"a":2}', b"9" * 30, b'"\\ud800"',
)  # fmt: skip


def _json(data: bytes) -> None:
    try:
        value: Any = json_body.decode(data)
    except HttpError as error:
        assert error.status == 400
        _light(data)
        return
    assert json.loads(data) == value
    assert compact_json.loads(data) == value
    assert json.loads(compact_json.dumps(value)) == value
    assert json.loads(dumps(value)) == value
    assert json.loads(dumps_indented(value)) == value
    assert dumps(value).isprintable()


def _light(data: bytes) -> None:
    try:
        compact_json.loads(data)
    except ValueError:
        return


TARGETS = {
    "documents": Target("documents", ("domain/oci/",), _documents, _document, _mutate_document),
    "json": Target(
        "json",
        ("adapters/http/json_body.py", "domain/compact_json.py", "cli/json_light.py"),
        lambda: list(_JSON),
        _json,
        mutate_json_text,
    ),
}

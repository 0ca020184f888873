"""JSON schemas of what docket writes: what OCI's image specification demands of each document, and what docket promises beyond.

Written after the text of the specification (version 1.1), not copied from its schemas; those are used as well where they are to be
had: `DOCKET_IMAGE_SPEC` names their directory, and a copy beside the checkout is found by itself. These are the stricter ones:
unknown members are refused, and media types and digests must be ones that docket writes.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

_ORIGINALS = {
    "index": "image-index-schema.json",
    "manifest": "image-manifest-schema.json",
    "config": "config-schema.json",
    "layout": "image-layout-schema.json",
}

_DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_SIZE = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"minLength": 1}}
_LIST = {"type": "array", "items": {"type": "string"}}
_SET = {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}, "propertyNames": {"minLength": 1}}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}

_INDEX, _MANIFEST = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
_DOCKER = "application/vnd.docker."
_MANIFESTS = [_MANIFEST, f"{_DOCKER}distribution.manifest.v2+json"]
_CONFIGS = ["application/vnd.oci.image.config.v1+json", f"{_DOCKER}container.image.v1+json"]
_LAYERS = [
    *(f"application/vnd.oci.image.layer.v1.tar{packed}" for packed in ("", "+gzip", "+zstd")),
    *(f"{_DOCKER}image.rootfs.diff.tar{packed}" for packed in ("", ".gzip", ".zstd")),
]


def _object(required: str, **members: Any) -> dict[str, Any]:
    """An object of these members and no others. ``_`` in a name stands for a dot."""
    properties = {name.replace("_", ".") if name.startswith("os_") else name: schema for name, schema in members.items()}
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


def _descriptor(media_types: list[str], **more: Any) -> dict[str, Any]:
    return _object(
        "mediaType digest size", mediaType={"enum": media_types}, digest=_DIGEST, size=_SIZE, annotations=_STRINGS, **more
    )


_PLATFORM = _object(
    "architecture os",
    architecture={"type": "string", "minLength": 1}, os={"enum": ["linux"]}, os_version={"type": "string"}, os_features=_LIST,
    variant={"type": "string", "minLength": 1},
)  # fmt: skip
_PARAMETERS = _object(
    "",
    User={"type": "string"}, ExposedPorts=_SET, Env={"type": "array", "items": {"type": "string", "pattern": "^[^=]+"}},
    Entrypoint={**_LIST, "type": ["array", "null"]}, Cmd={**_LIST, "type": ["array", "null"]}, Volumes=_SET,
    WorkingDir={"type": "string"}, Labels=_STRINGS, StopSignal={"type": "string", "minLength": 1},
    ArgsEscaped={"type": "boolean"},
)  # fmt: skip
_STEP = _object(
    "", created=_TIME, author={"type": "string"}, created_by={"type": "string"}, comment={"type": "string"},
    empty_layer={"type": "boolean"},
)  # fmt: skip

SCHEMAS: dict[str, dict[str, Any]] = {
    "index": _object(
        "schemaVersion mediaType manifests",
        schemaVersion={"const": 2}, mediaType={"const": _INDEX},
        manifests={"type": "array", "items": _descriptor(_MANIFESTS, platform=_PLATFORM)}, annotations=_STRINGS,
    ),
    "manifest": _object(
        "schemaVersion mediaType config layers",
        schemaVersion={"const": 2}, mediaType={"const": _MANIFEST}, config=_descriptor(_CONFIGS),
        layers={"type": "array", "minItems": 1, "items": _descriptor(_LAYERS)}, annotations=_STRINGS,
    ),
    "config": _object(
        "architecture os rootfs",
        created=_TIME, author={"type": "string"}, architecture={"type": "string", "minLength": 1},
        variant={"type": "string", "minLength": 1}, os={"enum": ["linux"]}, os_version={"type": "string"}, os_features=_LIST,
        config=_PARAMETERS,
        rootfs=_object(
            "type diff_ids",
            type={"const": "layers"}, diff_ids={"type": "array", "minItems": 1, "items": _DIGEST},
        ),
        history={"type": "array", "items": _STEP},
    ),
    "layout": _object("imageLayoutVersion", imageLayoutVersion={"const": "1.0.0"}),
}  # fmt: skip


def originals() -> Path | None:
    """The directory of the specification's own schemas, if this machine has it."""
    beside = Path(__file__).parents[2] / "shared/reference/image-spec"
    named = Path(os.environ.get("DOCKET_IMAGE_SPEC") or beside)
    return named if (named / _ORIGINALS["index"]).is_file() else None


@cache
def _original(folder: Path, kind: str) -> Draft4Validator:
    # References are by the name of the file; ids of web addresses, which stand everywhere, would make them relative to those.
    documents = {path.name: json.loads(path.read_text(), object_hook=_without_id) for path in folder.glob("*.json")}
    resources = {name: Resource(document, DRAFT4) for name, document in documents.items()}
    return Draft4Validator(documents[_ORIGINALS[kind]], registry=Registry().with_resources(resources.items()))


def _without_id(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "id" or not isinstance(value, str)}


def problems(kind: str, data: bytes) -> list[str]:
    """What is wrong with a document (``index``, ``manifest``, ``config`` or ``layout``); nothing where all is right."""
    document = json.loads(data)
    found = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMAS[kind]).iter_errors(document)]
    folder = originals()
    if folder is not None:
        found += [f"{error.json_path}: {error.message} (original)" for error in _original(folder, kind).iter_errors(document)]
    return found


def layout_problems(files: dict[str, bytes]) -> list[str]:
    """The same for a whole image layout, by the paths of its files: index, and every manifest and config that it leads to."""
    found = problems("layout", files["oci-layout"]) + problems("index", files["index.json"])
    for entry in json.loads(files["index.json"])["manifests"]:
        manifest = files[f"blobs/sha256/{entry['digest'][7:]}"]
        found += problems("manifest", manifest)
        described = json.loads(manifest)["config"]
        config = files[f"blobs/sha256/{described['digest'][7:]}"]
        found += problems("config", config)
        found += [f"{each['digest']}: {len(data)} bytes" for each, data in ((entry, manifest), (described, config))
                  if len(data) != each["size"]]  # fmt: skip
    return found

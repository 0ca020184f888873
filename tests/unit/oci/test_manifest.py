"""Manifests and indexes are read as what they arrived as, or not at all."""

import json
from typing import Any

import pytest

from docket.domain.oci import manifest as formats
from docket.domain.oci.manifest import Index, Manifest, decode_manifest
from docket.domain.oci.strict_json import InvalidDocument

CONFIG = {"mediaType": formats.OCI_CONFIG, "digest": "sha256:" + "a" * 64, "size": 2}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + "b" * 64, "size": 3}
IMAGE: dict[str, Any] = {"schemaVersion": 2, "mediaType": formats.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
ENTRY = {
    "mediaType": formats.OCI_MANIFEST,
    "digest": "sha256:" + "c" * 64,
    "size": 4,
    "platform": {"architecture": "amd64", "os": "linux"},
}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": formats.OCI_INDEX, "manifests": [ENTRY]}


def refused(document: dict[str, Any], media_type: str = formats.OCI_MANIFEST) -> str:
    """The reason why a document is refused."""
    with pytest.raises(InvalidDocument) as caught:
        decode_manifest(json.dumps(document).encode(), media_type)
    return str(caught.value)


def test_images_and_indexes_are_read() -> None:
    """Both kinds, of OCI and of Docker, with or without a media type inside."""
    image = decode_manifest(json.dumps(IMAGE).encode(), formats.OCI_MANIFEST)
    assert isinstance(image, Manifest)
    assert (image.config.digest, image.layers[0].size) == (CONFIG["digest"], 3)
    index = decode_manifest(json.dumps({**INDEX, "mediaType": formats.DOCKER_INDEX}).encode(), formats.DOCKER_INDEX)
    assert isinstance(index, Index)
    assert index.manifests[0].platform is not None
    assert index.manifests[0].platform.architecture == "amd64"
    bare = {key: value for key, value in IMAGE.items() if key != "mediaType"}
    assert isinstance(decode_manifest(json.dumps(bare).encode(), formats.DOCKER_MANIFEST), Manifest)


def test_s24_the_media_type_inside_must_match_outside() -> None:
    """A document cannot be one thing to the sender and another to the reader."""
    assert "says of itself" in refused(IMAGE, formats.DOCKER_MANIFEST)
    assert "says of itself" in refused(INDEX, formats.OCI_MANIFEST)
    refused(IMAGE, "text/html")
    refused(IMAGE, "")


def test_s24_a_document_with_layers_and_manifests_is_refused() -> None:
    """It could be read as an image or as an index (CVE-2021-41190)."""
    assert "both" in refused({**IMAGE, "manifests": [ENTRY]})
    assert "both" in refused({**INDEX, "layers": []}, formats.OCI_INDEX)
    assert "both" in refused({**INDEX, "fsLayers": []}, formats.OCI_INDEX)
    bare = {"schemaVersion": 2, "layers": [], "config": CONFIG}
    assert "index with layers" in refused(bare, formats.OCI_INDEX)
    assert "with manifests" in refused({"schemaVersion": 2, "manifests": []})


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"schemaVersion": "2"},
        {"config": None},
        {"layers": None},
        {"layers": {}},
        {"layers": [{**LAYER, "size": -1}]},
        {"layers": [{**LAYER, "size": 2**70}]},
        {"layers": [{**LAYER, "size": 1.5}]},
        {"layers": [{**LAYER, "digest": "sha256:../../x"}]},
        {"config": {**CONFIG, "digest": "sha512:" + "a" * 128}},
    ],
)
def test_s25_wrong_members_are_refused(change: dict[str, Any]) -> None:
    """Versions, sizes and digests are validated while the document is read."""
    refused({**IMAGE, **change})


def test_s29_counts_are_bounded() -> None:
    """Neither endless layers nor an index of a hundred thousand images starts any work."""
    assert "layers" in refused({**IMAGE, "layers": [LAYER] * (formats.MAX_LAYERS + 1)})
    refused({**INDEX, "manifests": [ENTRY] * (formats.MAX_INDEX_ENTRIES + 1)}, formats.OCI_INDEX)
    refused({**INDEX, "manifests": [ENTRY] * 100_000}, formats.OCI_INDEX)

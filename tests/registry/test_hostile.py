"""What a registry may say that no image may be made of: everything is refused before it is used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.registry.faulty import FaultyRegistry, digest_of

from docket.adapters.registry.port import Registries
from docket.domain.errors import Rejected
from docket.domain.jobs.pull import resolve
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.oci.descriptor import Platform
from docket.domain.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from docket.domain.oci.reference import parse_reference
from docket.domain.registry import NOBODY, RegistryError

DIFF_ID = "sha256:" + "d" * 64
AMD64 = Platform("amd64", "linux")


async def resolved(
    registries: Registries, registry: FaultyRegistry, tag: str = "1", platform: Platform = AMD64, asked: str = ""
) -> Any:
    reference = parse_reference(f"{registry.host}/app:{tag}")
    async with registries.open(reference, NOBODY, EngineSettings()) as repository:
        return await resolve(repository, reference, platform, asked)


async def refusal(registries: Registries, registry: FaultyRegistry, **more: Any) -> str:
    with pytest.raises((RegistryError, Rejected)) as failure:
        await resolved(registries, registry, **more)
    return str(failure.value)


def image(registry: FaultyRegistry, tag: str = "1", **config: Any) -> dict[str, Any]:
    """A good image; returns its manifest."""
    registry.add_image(tag, [b"layer"], [DIFF_ID], **config)
    found: dict[str, Any] = json.loads(registry.manifests[tag][1])
    return found


def entry(data: bytes, architecture: str, media_type: str = DOCKER_MANIFEST, **more: Any) -> dict[str, Any]:
    platform = {"architecture": architecture, "os": "linux", **more}
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), "platform": platform}


def index(registry: FaultyRegistry, tag: str, *entries: dict[str, Any], media_type: str = OCI_INDEX) -> bytes:
    data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)}).encode()
    registry.add_raw_manifest(tag, data, media_type)
    return data


async def test_a_good_image_is_described(registries: Registries, registry: FaultyRegistry) -> None:
    """Manifest, config and layers, with the digest that the tag means."""
    image(registry)
    found = await resolved(registries, registry)
    assert [each.diff_id for each in found.layers] == [DIFF_ID]
    assert found.named.digest == digest_of(registry.manifests["1"][1])


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
async def test_the_hosts_platform_is_chosen(registries: Registries, registry: FaultyRegistry, media_type: str) -> None:
    """From an index of either kind; what is not there is told as Docker tells it."""
    image(registry, "arm", architecture="arm64")
    image(registry, "amd")
    arm, amd = registry.manifests["arm"][1], registry.manifests["amd"][1]
    index(registry, "1", entry(b"{}", "unknown"), entry(arm, "arm64", variant="v8"), entry(amd, "amd64"), media_type=media_type)
    assert (await resolved(registries, registry)).manifest.data == amd
    assert (await resolved(registries, registry, platform=Platform("arm64", "linux"))).manifest.data == arm
    text = await refusal(registries, registry, platform=Platform("s390x", "linux"), asked="linux/s390x")
    assert text == "no matching manifest for linux/s390x in the manifest list entries"


async def test_another_platforms_image_is_not_what_was_asked_for(registries: Registries, registry: FaultyRegistry) -> None:
    """Asked for by name, it is refused; not asked, it is taken, as Docker does."""
    image(registry, architecture="arm64")
    assert (await resolved(registries, registry)).layers
    assert "does not match the specified platform: wanted linux/amd64, actual: linux/arm64" in await refusal(
        registries, registry, asked="linux/amd64"
    )


async def test_schema_1_is_refused_with_a_sentence(registries: Registries, registry: FaultyRegistry) -> None:
    """It says what to do."""
    media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.add_raw_manifest("1", b'{"schemaVersion":1,"fsLayers":[]}', media_type)
    assert "schema 1, which is no longer supported: ask its author" in await refusal(registries, registry)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace(DOCKER_MANIFEST, OCI_MANIFEST, 1), "says of itself that it is"),
        (lambda text: text.replace('"layers"', '"manifests": [], "layers"'), "has both layers and manifests"),
        (lambda text: text.replace('"layers"', '"layers": [], "layers"'), "stands twice"),
        (lambda text: text.replace('"layers"', '"Layers": [], "layers"'), "differs from 'layers' in case only"),
        (lambda text: text.replace('"schemaVersion": 2', '"schemaVersion": 2, "x": NaN'), "NaN is not JSON"),
        (lambda text: text.replace('"schemaVersion": 2', '"schemaVersion": ' + "9" * 5000), "not valid JSON|schemaVersion"),
        (lambda text: "[" * 100_000, "nested deeper"),
        (lambda text: text[:-1], "not valid JSON"),
        (lambda text: "[]", "not a JSON object"),
    ],
)
async def test_s24_manifests_with_two_readings(
    registries: Registries, registry: FaultyRegistry, change: Any, reason: str
) -> None:
    """The media type inside must be that outside, and no other program may read something else."""
    text = json.dumps(image(registry))
    registry.add_raw_manifest("1", change(text).encode())
    import re

    assert re.search(reason, await refusal(registries, registry))


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../../etc/passwd", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32, "sha256:" + "a" * 64 + "\n", "",
     "sha512:" + "a" * 128],
)  # fmt: skip
@pytest.mark.parametrize("where", ["config", "layers"])
async def test_s25_digests_are_checked_before_they_are_used(
    registries: Registries, registry: FaultyRegistry, digest: str, where: str
) -> None:
    """Nothing of them reaches an address: after the manifest nothing is asked for."""
    manifest = image(registry)
    (manifest["config"] if where == "config" else manifest["layers"][0])["digest"] = digest
    registry.add_manifest("1", manifest)
    registry.requests.clear()
    assert "digest" in await refusal(registries, registry)
    assert [path for _, path, _ in registry.requests if "/blobs/" in path] == []


async def test_s26_a_config_is_what_its_digest_says(registries: Registries, registry: FaultyRegistry) -> None:
    """Of the right length, but with another byte."""
    digest = image(registry)["config"]["digest"]
    registry.blobs[digest] = registry.blobs[digest].replace(b"amd64", b"amd65")
    assert await refusal(registries, registry) == f"image config verification failed for digest {digest}"


async def test_s26_an_entry_of_an_index_is_what_the_index_says(registries: Registries, registry: FaultyRegistry) -> None:
    """Size and media type too."""
    image(registry, "amd")
    data = registry.manifests["amd"][1]
    index(registry, "1", {**entry(data, "amd64"), "size": len(data) + 1})
    assert "is not what the index says" in await refusal(registries, registry)


async def test_s29_indexes_in_indexes_end(registries: Registries, registry: FaultyRegistry) -> None:
    """However deep they go, only a few are read."""
    image(registry, "deep")
    data, media_type = registry.manifests["deep"][1], DOCKER_MANIFEST
    for _ in range(100):
        data = index(registry, "deep", entry(data, "amd64", media_type))
        media_type = OCI_INDEX
    registry.requests.clear()
    assert "an index in an index in an index" in await refusal(registries, registry, tag="deep")
    assert len(registry.requests) < 8


async def test_s29_an_index_of_many(registries: Registries, registry: FaultyRegistry) -> None:
    """100,000 references are too many to look at."""
    index(registry, "1", *[{"mediaType": OCI_MANIFEST, "digest": DIFF_ID, "size": 1}] * 20_000)
    assert "20000 manifests, at most 1000 are read" in await refusal(registries, registry)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"os": "windows"}, 'operating system "windows" cannot be used on this platform'),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "1 layers in its manifest and 0 in its config"),
        ({"rootfs": {"type": "layers", "diff_ids": ["sha256:x"]}}, "diff_ids"),
        ({"config": {"Env": ["A=\0"]}}, "NUL"),
        ({"config": {"Labels": {"a": "x" * 300_000}}}, "longer than"),
    ],
)
async def test_s32_configs_that_do_not_fit(
    registries: Registries, registry: FaultyRegistry, config: dict[str, Any], reason: str
) -> None:
    """They are refused before a layer is fetched."""
    image(registry, **config)
    assert reason in await refusal(registries, registry)


async def test_artifacts_are_no_images(registries: Registries, registry: FaultyRegistry) -> None:
    """A chart or a signature has another kind of config, and layers of another kind."""
    manifest = image(registry)
    manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    registry.add_manifest("1", manifest)
    assert "it is no image" in await refusal(registries, registry)


async def test_s28_foreign_layers_are_not_followed(registries: Registries, registry: FaultyRegistry) -> None:
    """Layers that carry addresses of their own are not fetched from anywhere."""
    manifest = image(registry)
    manifest["layers"][0] |= {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": ["http://169.254.169.254/"],
    }  # fmt: skip
    registry.add_manifest("1", manifest)
    assert "is not supported" in await refusal(registries, registry)

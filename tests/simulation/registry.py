"""A registry for simulations: one image of two layers, and whatever is pushed. It outlives engines, as registries do."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio
from tests.simulation.life import Life

from docket.domain.model.engine.settings import EngineSettings
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import Digest, digest_of
from docket.domain.oci.image_config import ImageConfig, RootFS, encode_image_config
from docket.domain.oci.layer import TAR
from docket.domain.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Manifest
from docket.domain.oci.reference import Reference
from docket.domain.registry import Content, Credentials, Found, RegistryError, RemoteManifest


def _layer(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    return buffer.getvalue()


class SimulatedRegistry:
    """What the registry has. ``life`` is the engine's that asks."""

    def __init__(self) -> None:
        self.life = Life()
        layers = [_layer("one"), _layer("two")]
        config = encode_image_config(ImageConfig("amd64", "linux", RootFS("layers", tuple(digest_of(each) for each in layers))))
        described = tuple(Descriptor(TAR, digest_of(each), len(each)) for each in layers)
        manifest = Manifest(2, Descriptor(OCI_CONFIG, digest_of(config), len(config)), described, OCI_MANIFEST)
        self.blobs = {digest_of(each): each for each in (*layers, config)}
        self.manifests = {"1": msgspec.json.encode(manifest, order="sorted")}

    @asynccontextmanager
    async def open(
        self, reference: Reference, credentials: Credentials, settings: EngineSettings, *, push: bool = False
    ) -> AsyncIterator[SimulatedRepository]:
        yield SimulatedRepository(self)

    async def login(self, credentials: Credentials, settings: EngineSettings) -> str:
        return ""

    async def search(self, term: str, limit: int, credentials: Credentials, settings: EngineSettings) -> tuple[Found, ...]:
        return (Found("app"),)


class SimulatedRepository:
    """Every request is a point of the engine's life."""

    def __init__(self, registry: SimulatedRegistry) -> None:
        self._registry = registry

    async def _point(self, name: str) -> None:
        self._registry.life.point("call", f"registry {name}")
        await trio.lowlevel.checkpoint()
        self._registry.life.point("did", f"registry {name}")

    async def manifest(self, reference: str, *, digest: Digest | None = None) -> RemoteManifest:
        await self._point("manifest")
        data = self._registry.manifests.get(reference)
        if data is None:
            raise RegistryError("manifest unknown: manifest unknown", "not found")
        return RemoteManifest(OCI_MANIFEST, digest_of(data), data)

    async def blob(self, blob: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]:
        data = self._registry.blobs[blob.digest]
        for start in range(offset, len(data), 4096):
            await self._point("blob")
            yield data[start : start + 4096]

    async def tags(self) -> tuple[str, ...]:
        await self._point("tags")
        return tuple(self._registry.manifests)

    async def has_blob(self, digest: Digest) -> bool:
        await self._point("has blob")
        return digest in self._registry.blobs

    async def mount(self, digest: Digest, source: str) -> bool:
        await self._point("mount")
        return False

    async def upload(self, blob: Descriptor, content: Content) -> None:
        await self._point("upload")
        data = b"".join([piece async for piece in content(0)])
        assert digest_of(data) == blob.digest
        self._registry.blobs[blob.digest] = data

    async def put_manifest(self, tag: str, media_type: str, data: bytes) -> Digest:
        await self._point("put manifest")
        if tag == "refused":
            raise RegistryError("denied: requested access to the resource is denied", "denied")
        manifest = msgspec.json.decode(data, type=Manifest)
        assert all(each.digest in self._registry.blobs for each in (manifest.config, *manifest.layers))
        self._registry.manifests[tag] = data
        return digest_of(data)

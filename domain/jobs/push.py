"""push: an image to a registry. The blobs go as they lie on disk, so the digest at the registry is the one that docket knows.

A blob that the registry has is not sent; one that another repository there has is mounted. The manifest goes last: the tag means
the old image until all of the new one is there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec
import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError, Rejected, Rejection
from docket.domain.model import texts
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.model.transfer import events
from docket.domain.model.transfer.commands import CompletePush
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import parse_digest
from docket.domain.oci.manifest import Manifest, decode_manifest
from docket.domain.oci.reference import Reference, parse_reference
from docket.domain.oci.strict_json import InvalidDocument
from docket.domain.registry import NOBODY, Content, Credentials, Repository
from docket.domain.transferring import UPLOADS_AT_ONCE, Progress, Step, concluded, short, unheard

_MOST_SOURCES = 2


class Push(msgspec.Struct, frozen=True):
    """``reference`` is normalised; one without a tag is all tags of the repository."""

    reference: str
    credentials: Credentials = NOBODY
    progress: Progress = unheard


async def push(engine: Engine, job: Job) -> None:
    """Raises `Rejected`, `RegistryError`."""
    request: Push = job.request
    asked = parse_reference(request.reference, default_tag=False)
    request.progress(
        Step(f"The push refers to repository [{asked.familiar_name if asked.domain != 'docker.io' else asked.name}]")
    )
    for reference in _references(engine, asked):
        await _push_one(engine, job, reference)


def _references(engine: Engine, asked: Reference) -> list[Reference]:
    """Raises `Rejected` with dockerd's words."""
    known = [parse_reference(each) for each in engine.state.references]
    own = sorted(each for each in known if each.name == asked.name and each.tag)
    if not own:
        raise Rejected(texts.no_local_image(asked.familiar_name))
    if not asked.tag:
        return own
    if asked not in own:
        raise Rejected(texts.tag_does_not_exist(asked.familiar))
    return [asked]


async def _push_one(engine: Engine, job: Job, reference: Reference) -> None:
    request: Push = job.request
    image = find_image(engine.state, str(reference))
    if isinstance(image, Rejection):
        raise Rejected(image)
    transfer = f"{job.id}-{reference.tag}" if request.reference != str(reference) else job.id
    await engine.record([events.ImagePushing(transfer, str(reference), image.id)], job)
    async with (
        concluded(engine, job, lambda reason: events.ImagePushFailed(transfer, reason)),
        engine.ports.registry.open(reference, request.credentials, engine.settings, push=True) as repository,
    ):
        data, manifest = await _manifest(engine, image)
        await _send_blobs(engine, job, transfer, repository, reference, image, manifest)
        digest = await repository.put_manifest(reference.tag, image.manifest_type, data)
        named = str(reference.with_digest(digest))
        await engine.execute(CompletePush(transfer, str(reference), image.id, named, len(data)), job)
    request.progress(Step(f"{reference.tag}: digest: {digest} size: {len(data)}"))
    request.progress(Step("", tag=reference.tag, digest=digest, size=len(data)))


async def _manifest(engine: Engine, image: Image) -> tuple[bytes, Manifest]:
    """The image's manifest as it lies on disk. Raises `PortError`."""
    data = await engine.ports.images.document(parse_digest(image.manifest))
    try:
        manifest = decode_manifest(data, image.manifest_type)
    except InvalidDocument as error:
        raise PortError(f"image {image.id}: {error}") from error
    if not isinstance(manifest, Manifest):
        raise PortError(f"image {image.id}: its manifest is an index")
    return data, manifest


async def _send_blobs(
    engine: Engine, job: Job, transfer: str, repository: Repository, reference: Reference, image: Image, manifest: Manifest
) -> None:
    """Layers, some at once, and the config."""
    request: Push = job.request
    limiter = trio.CapacityLimiter(UPLOADS_AT_ONCE)
    sources = _sources(engine, reference, image)
    failures: list[Exception] = []

    async def send(blob: Descriptor, name: str, scope: trio.CancelScope) -> None:
        try:
            async with limiter:
                how = await _send_blob(engine, request.progress, repository, blob, name, sources)
            engine.note([events.LayerPushed(transfer, blob.digest, blob.size, how)], job)
        except Exception as error:
            failures.append(error)
            scope.cancel()

    named = {layer.digest: short(diff_id) for layer, diff_id in zip(manifest.layers, image.layers, strict=True)}
    for name in dict.fromkeys(named.values()):
        request.progress(Step("Preparing", name, moves=True))
    blobs = {blob.digest: blob for blob in (*manifest.layers, manifest.config)}
    async with trio.open_nursery() as nursery:
        for digest, blob in blobs.items():
            nursery.start_soon(send, blob, named.get(digest, ""), nursery.cancel_scope)
    if failures:
        raise failures[0]


async def _send_blob(
    engine: Engine, progress: Progress, repository: Repository, blob: Descriptor, name: str, sources: list[str]
) -> str:
    """How the registry came to have it. The config has no name, and is not shown."""

    def told(status: str, current: int = 0) -> None:
        if name:
            progress(Step(status, name, current, blob.size if current else 0, moves=True))

    if await repository.has_blob(blob.digest):
        told("Layer already exists")
        return "known"
    for source in sources if name else ():
        if await repository.mount(blob.digest, source):
            told(f"Mounted from {source}")
            return f"mounted from {source}"
    await repository.upload(blob, _counted(engine, blob, lambda current: told("Pushing", current)))
    told("Pushed")
    return "uploaded"


def _counted(engine: Engine, blob: Descriptor, told: Callable[[int], None]) -> Content:
    """The blob's bytes, which are counted as they go."""

    async def pieces(offset: int) -> AsyncGenerator[bytes, None]:
        sent = offset
        async with aclosing(engine.ports.images.blob(blob.digest, offset)) as chunks:
            async for chunk in chunks:
                yield chunk
                sent += len(chunk)
                told(sent)

    return pieces


def _sources(engine: Engine, reference: Reference, image: Image) -> list[str]:
    """Other repositories of the registry that have a layer of the image, as far as this engine knows."""
    layers = set(image.layers)
    found: dict[str, None] = {}
    for holder in engine.state.images.values():
        for other in map(parse_reference, holder.digests if layers.intersection(holder.layers) else ()):
            if other.domain == reference.domain and other.path != reference.path:
                found[other.path] = None
    return list(found)[:_MOST_SOURCES]

"""pull: an image from a registry.

    reference → manifest, or index → the manifest for the platform → config → layers, some at once → the image and its name

Everything is checked against its digest and size before it is used, and nothing is seen before all of it is there (S26). What was
fetched before a failure stays on disk for the next try.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec
import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import DigestMismatch, KernelError, NotFound, PortError, Rejected
from docket.domain.model import texts
from docket.domain.model.transfer import events
from docket.domain.model.transfer.commands import CompletePull
from docket.domain.oci import platform as platforms
from docket.domain.oci.descriptor import Descriptor, Platform
from docket.domain.oci.digest import digest_of, parse_digest
from docket.domain.oci.image_config import ImageConfig, decode_image_config
from docket.domain.oci.manifest import CONFIG_TYPES, Index, Manifest, decode_manifest
from docket.domain.oci.reference import Reference, parse_reference
from docket.domain.oci.stack import StackedLayer, layer_stack
from docket.domain.oci.strict_json import MAX_DOCUMENT_BYTES, InvalidDocument
from docket.domain.registry import NOBODY, Credentials, RegistryError, RemoteManifest, Repository
from docket.domain.transferring import Progress, Step, concluded, short, unheard

_MAX_INDEX_DEPTH = 3
_CLOSE_SECONDS = 2
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"


class Pull(msgspec.Struct, frozen=True):
    """``reference`` is normalised, one without tag and digest is all tags; ``platform`` empty is the host's."""

    reference: str
    platform: str = ""
    credentials: Credentials = NOBODY
    progress: Progress = unheard


class _Wanted(msgspec.Struct, frozen=True):
    """An image as the registry describes it."""

    named: RemoteManifest
    """What the reference means, maybe an index."""
    manifest: RemoteManifest
    document: Manifest
    config_bytes: bytes
    layers: tuple[StackedLayer, ...]


async def pull(engine: Engine, job: Job) -> str:
    """Returns the image's id, of several tags the last one's. Raises `Rejected`, `RegistryError`."""
    request: Pull = job.request
    asked = parse_reference(request.reference, default_tag=False)
    if asked.tag or asked.digest:
        return await _pull_one(engine, job, asked, job.id)
    async with engine.ports.registry.open(asked, request.credentials, engine.settings) as repository:
        tags = await repository.tags()
    image = ""
    for number, tag in enumerate(tags):
        image = await _pull_one(engine, job, asked.with_tag(tag), f"{job.id}-{number}")
    return image


async def _pull_one(engine: Engine, job: Job, reference: Reference, transfer: str) -> str:
    request: Pull = job.request
    host = platforms.host_platform(engine.ports.kernel.host().architecture)
    platform = platforms.parse_platform(request.platform, host) if request.platform else host
    await engine.record([events.ImagePulling(transfer, str(reference), request.platform)], job)
    async with (
        concluded(engine, job, lambda reason: events.ImagePullFailed(transfer, reason)),
        engine.ports.registry.open(reference, request.credentials, engine.settings) as repository,
    ):
        return await _pull(engine, job, transfer, repository, reference, platform)


async def _pull(
    engine: Engine, job: Job, transfer: str, repository: Repository, reference: Reference, platform: Platform
) -> str:
    request: Pull = job.request
    wanted = await resolve(repository, reference, platform, asked=request.platform)
    request.progress(Step(f"Pulling from {reference.path}", id=reference.digest or reference.tag))
    resolved = events.ManifestResolved(transfer, wanted.named.digest, wanted.manifest.digest, len(wanted.document.layers))
    engine.note([resolved], job)
    tag = "" if reference.digest else str(reference)
    named = str(reference.with_digest(wanted.named.digest))
    before = engine.state.references.get(tag or named)
    async with engine.custody.shared():
        await _fetch_layers(engine, job, transfer, repository, wanted)
        manifest = wanted.manifest
        imported = await engine.ports.images.ingest.finish(
            manifest.data, manifest.media_type, wanted.config_bytes, origin="pull", source=named
        )
        await engine.execute(CompletePull(transfer, imported, str(reference), tag, named), job)
    request.progress(Step(f"Digest: {wanted.named.digest}"))
    news = "Image is up to date" if before == imported.image else "Downloaded newer image"
    request.progress(Step(f"Status: {news} for {reference.familiar}"))
    return imported.image


async def resolve(repository: Repository, reference: Reference, platform: Platform, asked: str) -> _Wanted:
    """What the reference means for this platform. Raises `Rejected`, `RegistryError` with Docker's texts."""
    digest = parse_digest(reference.digest) if reference.digest else None
    try:
        named = await repository.manifest(digest or reference.tag, digest=digest)
        manifest, document = await _manifest_for(repository, named, platform)
        config_bytes = await _small_blob(repository, document.config)
        config = decode_image_config(config_bytes)
        layers = layer_stack(document, config)
    except RegistryError as error:
        raise _explained(error, reference) from error
    except InvalidDocument as error:
        raise RegistryError(f"{reference.familiar}: {error}", "invalid") from error
    _check_platform(config, reference, platform, asked)
    return _Wanted(named, manifest, document, config_bytes, layers)


async def _manifest_for(repository: Repository, named: RemoteManifest, platform: Platform) -> tuple[RemoteManifest, Manifest]:
    found = named
    for _ in range(_MAX_INDEX_DEPTH):
        if found.media_type.startswith(_SCHEMA_1):
            raise RegistryError(
                "the image has a manifest of schema 1, which is no longer supported: ask its author to push it "
                "in the OCI format or as a Docker image manifest of schema 2", "invalid",
            )  # fmt: skip
        document = decode_manifest(found.data, found.media_type)
        if isinstance(document, Manifest):
            return found, document
        found = await _chosen(repository, document, platform)
    raise RegistryError(f"manifest {named.digest}: an index in an index in an index: refused", "invalid")


async def _chosen(repository: Repository, index: Index, platform: Platform) -> RemoteManifest:
    entry = platforms.choose(index.manifests, platform)
    if entry is None:
        raise RegistryError(f"no matching manifest for {platforms.shown(platform)} in the manifest list entries", "not found")
    found = await repository.manifest(entry.digest, digest=entry.digest)
    if len(found.data) != entry.size or found.media_type != entry.media_type:
        raise RegistryError(f"manifest {entry.digest} is not what the index says: its size or media type differs", "invalid")
    return found


async def _small_blob(repository: Repository, blob: Descriptor) -> bytes:
    """A config. Raises `RegistryError`."""
    if blob.media_type not in CONFIG_TYPES:
        raise RegistryError(f"it is no image: its config is of the type {blob.media_type[:100]!r}", "invalid")
    if blob.size > MAX_DOCUMENT_BYTES:
        raise RegistryError(f"image config {blob.digest}: {blob.size} bytes, at most {MAX_DOCUMENT_BYTES} are read", "invalid")
    pieces = []
    async with aclosing(repository.blob(blob)) as chunks:
        async for chunk in chunks:
            pieces.append(chunk)
    data = b"".join(pieces)
    if digest_of(data) != blob.digest or len(data) != blob.size:
        raise RegistryError(f"image config verification failed for digest {blob.digest}", "invalid")
    return data


def _check_platform(config: ImageConfig, reference: Reference, platform: Platform, asked: str) -> None:
    """Raises `Rejected`, `RegistryError` for an image of another platform."""
    is_for = Platform(config.architecture, config.os, variant=config.variant)
    if config.os != "linux":
        raise RegistryError(f'operating system "{config.os[:60]}" cannot be used on this platform', "invalid")
    if asked and not platforms.runs(is_for, platform):
        raise Rejected(
            NotFound(
                f"image with reference {reference.familiar} was found but does not match the specified platform: "
                f"wanted {platforms.shown(platform)}, actual: {platforms.shown(is_for)}"
            )
        )


def _explained(error: RegistryError, reference: Reference) -> Exception:
    """In dockerd's words, which clients read."""
    text = str(error)
    if error.kind == "not found" and "manifest unknown" in text:
        return Rejected(texts.manifest_not_found(reference.familiar, text))
    if error.kind == "denied":
        return Rejected(texts.pull_access_denied(reference.familiar_name, text))
    return Rejected(NotFound(text)) if error.kind == "not found" else error


async def _fetch_layers(engine: Engine, job: Job, transfer: str, repository: Repository, wanted: _Wanted) -> None:
    """Some layers at once, each blob once. The first failure ends the others."""
    request: Pull = job.request
    failures: list[Exception] = []

    async def fetch(layer: StackedLayer, scope: trio.CancelScope) -> None:
        try:
            await _fetch_layer(engine, job, transfer, repository, layer)
        except Exception as error:
            failures.append(error)
            scope.cancel()

    missing = []
    is_known = wanted.document.config.digest in engine.state.images  # then nothing is said of its layers, as by Docker
    for layer in wanted.layers:
        if engine.ports.images.ingest.has_layer(layer):
            if not is_known:
                request.progress(Step("Already exists", short(layer.descriptor.digest), moves=True))
        else:
            missing.append(layer)
            request.progress(Step("Pulling fs layer", short(layer.descriptor.digest), moves=True))
    async with trio.open_nursery() as nursery:
        for layer in missing:
            nursery.start_soon(fetch, layer, nursery.cancel_scope)
    if failures:
        raise failures[0]


async def _fetch_layer(engine: Engine, job: Job, transfer: str, repository: Repository, layer: StackedLayer) -> None:
    """One layer, onto the disk and unpacked; one that does not match is asked for a second time."""
    request: Pull = job.request
    blob = layer.descriptor
    name = short(blob.digest)

    def told(current: int) -> None:
        request.progress(Step("Downloading", name, current, blob.size, moves=True))

    for last in (False, True):
        try:
            await _ingested(engine, repository, layer, told)
            break
        except (RegistryError, KernelError):
            raise
        except PortError as error:
            if last:
                what = "failed to register layer"
                if isinstance(error, DigestMismatch):
                    what = "filesystem layer verification failed for digest"
                raise RegistryError(f"{what} {blob.digest}: {error}", "invalid") from error
    engine.note([events.LayerFetched(transfer, blob.digest, blob.size, layer.diff_id, layer.chain_id)], job)
    for status in ("Verifying Checksum", "Download complete", "Pull complete"):
        request.progress(Step(status, name, moves=True))


async def _ingested(engine: Engine, repository: Repository, layer: StackedLayer, told: Callable[[int], None]) -> None:
    """Downloads that are not read to their end, because something else failed, are closed all the same."""
    opened: list[AsyncGenerator[bytes, None]] = []

    def open_from(offset: int) -> AsyncGenerator[bytes, None]:
        opened.append(repository.blob(layer.descriptor, offset))
        return opened[-1]

    try:
        await engine.ports.images.ingest.fetch_layer(layer, open_from, told)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SECONDS):
            for each in opened:
                await each.aclose()

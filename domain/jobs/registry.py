"""search, auth and distribution: what is asked of a registry without changing anything here."""

from __future__ import annotations

import msgspec

from docket.domain.engine import Engine, Job
from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.oci.descriptor import Descriptor, Platform
from docket.domain.oci.digest import parse_digest
from docket.domain.oci.manifest import INDEX_TYPES, Index, decode_manifest
from docket.domain.oci.reference import parse_reference
from docket.domain.oci.strict_json import InvalidDocument
from docket.domain.registry import NOBODY, Credentials, Found, RegistryError

_MOST_RESULTS = 100


class Search(msgspec.Struct, frozen=True):
    """``limit`` 0 is 25, as Docker has it."""

    term: str
    limit: int = 0
    credentials: Credentials = NOBODY


async def search(engine: Engine, job: Job) -> tuple[Found, ...]:
    """Raises `Rejected`, `RegistryError`."""
    request: Search = job.request
    if not request.term:
        raise Rejected(InvalidArgument("search needs a term"))
    if not 0 <= request.limit <= _MOST_RESULTS:
        raise Rejected(InvalidArgument(f"limit {request.limit} is outside the range of [1, {_MOST_RESULTS}]"))
    return await engine.ports.registry.search(request.term, request.limit or 25, request.credentials, engine.settings)


async def auth(engine: Engine, job: Job) -> str:
    """Check the credentials in ``job.request``; returns an identity token, or nothing. Raises `RegistryError`."""
    return await engine.ports.registry.login(job.request, engine.settings)


async def distribution(engine: Engine, job: Job) -> tuple[Descriptor, tuple[Platform, ...]]:
    """What the reference in the first argument means at its registry, and for which platforms. ``job.request`` are credentials."""
    reference = parse_reference(job.arguments[0])
    digest = parse_digest(reference.digest) if reference.digest else None
    async with engine.ports.registry.open(reference, job.request, engine.settings) as repository:
        found = await repository.manifest(digest or reference.tag, digest=digest)
        try:
            document = decode_manifest(found.data, found.media_type)
        except InvalidDocument as error:
            raise RegistryError(f"{reference.familiar}: {error}", "invalid") from error
    platforms: tuple[Platform, ...] = ()
    if isinstance(document, Index):
        platforms = tuple(each.platform for each in document.manifests if each.platform is not None)
    assert isinstance(document, Index) == (found.media_type in INDEX_TYPES)
    return Descriptor(found.media_type, found.digest, len(found.data)), platforms

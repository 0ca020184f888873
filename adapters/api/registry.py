"""What needs a registry: pull (``/images/create``), push, search, ``/auth`` and ``/distribution``.

Credentials come in ``X-Registry-Auth``, which the CLI always sends, or in a body as docker-py and ``/auth`` have it. They go to the
job's request and nowhere else: not into its arguments, which the log keeps.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from docket.adapters.api.filters import parse_filters
from docket.adapters.api.progress import progress_stream
from docket.adapters.http import HttpError, Request, Response, Route, Stream
from docket.domain.engine import Engine
from docket.domain.jobs.pull import Pull
from docket.domain.jobs.push import Push
from docket.domain.jobs.registry import Search
from docket.domain.oci.reference import Reference, parse_reference
from docket.domain.registry import NOBODY, Credentials, Found

_MAX_HEADER = 64 * 1024
_FILTERS = frozenset({"is-official", "is-automated", "stars"})
_FIELDS = {
    "username": "username",
    "password": "password",
    "identitytoken": "identity_token",
    "registrytoken": "registry_token",
    "serveraddress": "server_address",
}


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def push(request: Request) -> Response | Stream:
        name, tag = request.parameters["name"], request.query.get("tag") or ""
        asked = parse_reference(f"{name}:{tag}" if tag else name, default_tag=False)
        if asked.digest:
            raise HttpError(400, "cannot push a digest reference")
        credentials = credentials_of(request)
        if not credentials:
            credentials = _from_body(await request.json(_MAX_HEADER, optional=True))
        actor = request.peer.actor
        return await progress_stream(
            engine, lambda told: engine.job("push", (str(asked),), actor, Push(str(asked), credentials, told))
        )

    async def search(request: Request) -> Response:
        query = request.query
        term, limit = query.get("term") or "", query.get("limit") or "0"
        if not limit.lstrip("-").isascii() or not limit.lstrip("-").isdigit() or len(limit) > 6:
            raise HttpError(400, f'strconv.Atoi: parsing "{limit[:100]}": invalid syntax')
        filters = parse_filters(query.get("filters"), _FILTERS)
        ask = Search(term, int(limit), credentials_of(request))
        found = await engine.run(engine.job("search", (term,), request.peer.actor, ask))
        return Response.json([_row(each) for each in found if _passes(each, filters)])

    async def auth(request: Request) -> Response:
        credentials = _from_body(await request.json(_MAX_HEADER))
        job = engine.job("auth", (credentials.server_address,), request.peer.actor, credentials)
        return Response.json({"Status": "Login Succeeded", "IdentityToken": await engine.run(job)})

    async def distribution(request: Request) -> Response:
        name = str(parse_reference(request.parameters["name"]))
        job = engine.job("distribution", (name,), request.peer.actor, credentials_of(request))
        descriptor, platforms = await engine.run(job)
        shown = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
        return Response.json({"Descriptor": shown, "Platforms": [msgspec.to_builtins(each) for each in platforms]})

    return [
        Route("POST", "/images/{name:path}/push", push),
        Route("GET", "/images/search", search),
        Route("POST", "/auth", auth),
        Route("GET", "/distribution/{name:path}/json", distribution),
    ]


async def pull(engine: Engine, request: Request) -> Response | Stream:
    """``POST /images/create?fromImage=…``. Without a tag it is all tags, as Docker has it."""
    query = request.query
    name, tag, platform = query.get("fromImage") or "", query.get("tag") or "", query.get("platform") or ""
    reference = str(_asked(name, tag))
    credentials, actor = credentials_of(request), request.peer.actor
    arguments = (reference, platform) if platform else (reference,)
    return await progress_stream(
        engine, lambda told: engine.job("pull", arguments, actor, Pull(reference, platform, credentials, told))
    )


def _asked(name: str, tag: str) -> Reference:
    """``tag`` may be a digest, and takes the place of what the name says."""
    if not tag:
        return parse_reference(name, default_tag=False)
    bare = parse_reference(name, default_tag=False)
    repository = Reference(bare.domain, bare.path)
    return parse_reference(f"{repository}@{tag}") if ":" in tag else repository.with_tag(tag)


def credentials_of(request: Request) -> Credentials:
    """Those of ``X-Registry-Auth``: base64 of JSON, in either alphabet. Raises HttpError 400."""
    header = request.headers.get("x-registry-auth", "")
    if not header:
        return NOBODY
    if len(header) > _MAX_HEADER:
        raise HttpError(400, "invalid X-Registry-Auth header: it is too long")
    try:
        text = header.replace("-", "+").replace("_", "/").rstrip("=")
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        return _from_body(msgspec.json.decode(data) if data.strip() else None)
    except (binascii.Error, ValueError, RecursionError):
        raise HttpError(400, "invalid X-Registry-Auth header: it is not base64 of a JSON object") from None


def _from_body(value: Any) -> Credentials:
    """Docker's ``AuthConfig``; Go matches its names without case. Raises HttpError 400."""
    if value is None:
        return NOBODY
    if not isinstance(value, dict):
        raise HttpError(400, "credentials must be a JSON object")
    told: dict[str, str] = {}
    for key, text in value.items():
        field = _FIELDS.get(str(key).lower())
        if field is None or text is None:
            continue
        if not isinstance(text, str):
            raise HttpError(400, f"credentials: {key} must be a string")
        told[field] = text
    return _with_auth(value, Credentials(**told))


def _with_auth(value: dict[str, Any], credentials: Credentials) -> Credentials:
    """``auth`` is ``base64(name:password)``, as in a config file."""
    packed = value.get("auth")
    if credentials.username or not isinstance(packed, str) or not packed:
        return credentials
    try:
        name, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise HttpError(400, "credentials: auth must be base64 of name:password") from None
    return msgspec.structs.replace(credentials, username=name, password=password.rstrip("\0"))


def _row(found: Found) -> dict[str, Any]:
    return {
        "star_count": found.stars,
        "is_official": found.official,
        "name": found.name,
        "is_automated": found.automated,
        "description": found.description,
    }


def _passes(found: Found, filters: dict[str, tuple[str, ...]]) -> bool:
    for name, values in filters.items():
        for value in values:
            if name == "stars":
                if not (value.isascii() and value.isdigit() and len(value) < 10):
                    raise HttpError(400, f"invalid filter 'stars={value}'")
                if found.stars < int(value):
                    return False
            elif value.lower() not in {"true", "1", "false", "0"}:
                raise HttpError(400, f"invalid filter '{name}={value}'")
            elif (found.official if name == "is-official" else found.automated) != (value.lower() in {"true", "1"}):
                return False
    return True

"""``/commit``: an image of a container."""

from __future__ import annotations

from typing import Any

import msgspec

from docket.adapters.api.fields import wrong
from docket.adapters.http import HttpError, Request, Response, Route
from docket.domain.engine import Engine
from docket.domain.jobs.commit import Commit, Settings
from docket.domain.oci.image_config import ExecutionParameters
from docket.domain.oci.reference import parse_reference


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def commit(request: Request) -> Response:
        query = request.query
        reference = query.get("container")
        if not reference:
            raise HttpError(400, "bad parameter: 'container' cannot be empty")
        repository, tag = query.get("repo") or "", query.get("tag") or ""
        name = str(parse_reference(f"{repository}:{tag}" if tag else repository)) if repository else ""
        pause = query.boolean("pause") if query.get("pause") else True
        ask = Commit(name, query.get("comment") or "", query.get("author") or "", pause)
        job = engine.job("commit", (reference, name), request.peer.actor, ask)
        job.private = Settings(_parameters(await request.json(optional=True)), tuple(query.all("changes")))
        return Response.json({"Id": await engine.run(job)}, 201)

    return [Route("POST", "/commit", commit)]


def _parameters(body: Any) -> ExecutionParameters:
    """The body's config, of which clients send nothing, ``null``, or every field of its type."""
    if body is None:
        return ExecutionParameters()
    if not isinstance(body, dict):
        raise wrong("the body of a commit must be a JSON object")
    names = {field.encode_name for field in msgspec.structs.fields(ExecutionParameters)}
    asked = {key: value for key, value in body.items() if value is not None and key in names}
    for key in ("Cmd", "Entrypoint"):
        if isinstance(asked.get(key), str):
            asked[key] = [asked[key]]
    try:
        return msgspec.convert(asked, ExecutionParameters)
    except msgspec.ValidationError as error:
        raise wrong(f"the body of a commit: {error}") from error

"""``/images``: import, list, inspect, tag, remove."""

from __future__ import annotations

import msgspec

from docket.adapters.api.filters import parse_filters
from docket.adapters.api.history import state_at
from docket.adapters.api.image_json import FILTERS, deleted, image_test, inspect, row
from docket.adapters.api.registry import pull
from docket.adapters.http import HttpError, Request, Response, Route, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.errors import Rejected, Rejection
from docket.domain.jobs.images import Import
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.oci.reference import parse_reference


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def list_(request: Request) -> Response:
        state = await state_at(engine, request.query.get("at"))
        passes = image_test(state, parse_filters(request.query.get("filters"), FILTERS))
        ordered = sorted(filter(passes, state.images.values()), key=lambda image: image.imported_ns, reverse=True)
        return Response.json([row(state, image) for image in ordered])

    async def show(request: Request) -> Response:
        return Response.json(inspect(_found(engine, request)))

    async def tag(request: Request) -> Response:
        repository, name = request.query.get("repo") or "", request.query.get("tag")
        reference = f"{repository}:{name}" if name else repository
        await engine.run(engine.job("tag", (request.parameters["name"], reference), request.peer.actor))
        return Response.empty(201)

    async def remove(request: Request) -> Response:
        name, force = request.parameters["name"], request.query.boolean("force")
        happened = await engine.run(engine.job("rmi", (name,), request.peer.actor, force))
        return Response.json([shown for event in happened if (shown := deleted(event)) is not None])

    async def create(request: Request) -> Response | Stream:
        query = request.query
        if query.get("fromImage"):
            return await pull(engine, request)
        if query.get("fromSrc") != "-":
            raise HttpError(501, "importing from an address is not supported: fetch the archive, and import it with fromSrc=-")
        repository, tag = query.get("repo") or "", query.get("tag") or ""
        reference = str(parse_reference(f"{repository}:{tag}" if tag else repository)) if repository else ""
        chunks = request.body_stream()
        ask = Import(aiter(chunks), reference, tuple(query.all("changes")), query.get("message") or "")
        image = await engine.run(engine.job("import", ("-", reference), request.peer.actor, ask))

        async def write(out: StreamSender) -> None:
            await out.send(msgspec.json.encode({"status": image}) + b"\r\n")

        return Stream(write)

    return [
        Route("GET", "/images/json", list_),
        Route("POST", "/images/create", create, body_limit=None),
        Route("GET", "/images/{name:path}/json", show),
        Route("POST", "/images/{name:path}/tag", tag),
        Route("DELETE", "/images/{name:path}", remove),
    ]


def _found(engine: Engine, request: Request) -> Image:
    image = find_image(engine.state, request.parameters["name"])
    if isinstance(image, Rejection):
        raise Rejected(image)
    return image

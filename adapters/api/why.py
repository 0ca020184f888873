"""docket's own ``/docket/why``: the causes of an image or a container, as `docket.domain.causes` finds them."""

from __future__ import annotations

import trio

from docket.adapters.api.history import find_ever
from docket.adapters.http import Request, Response, Route
from docket.domain.causes import causes, image_ever
from docket.domain.engine import Engine
from docket.domain.errors import InvalidArgument, NotFound, Rejected
from docket.domain.model.container.decide import find_container
from docket.domain.model.container.state import Container
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.oci.reference import InvalidReference, parse_reference

_TYPES = ("", "container", "image")
_SHORTEST_ID = 4


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def why(request: Request) -> Response:
        name, kind = request.parameters["name"], request.query.get("type") or ""
        if kind not in _TYPES:
            raise Rejected(InvalidArgument(f"{kind!r} has no causes: type is container or image"))
        await engine.ports.store.settle()
        stream = await trio.to_thread.run_sync(_stream, engine, name, kind)
        return Response.json(await trio.to_thread.run_sync(causes, engine.ports.store, stream))

    return [Route("GET", "/docket/why/{name:path}", why)]


def _stream(engine: Engine, name: str, kind: str) -> str:
    """The event stream of what is meant: a container before an image, as with ``inspect``, and what is there before what was."""
    container = find_container(engine.state, name) if kind != "image" else None
    if isinstance(container, Container):
        return f"container-{container.id}"
    image = find_image(engine.state, name) if kind != "container" else None
    if isinstance(image, Image):
        return f"image-{image.id.removeprefix('sha256:')}"
    if container is not None:
        try:
            return f"container-{find_ever(engine, name)}"
        except Rejected:
            if kind:
                raise
    found = image_ever(engine.ports.store, _reference(name), _digits(name))
    if not found:
        raise Rejected(image if kind and image is not None else NotFound(f"No such object: {name}"))
    return found


def _reference(name: str) -> str:
    try:
        return str(parse_reference(name))
    except InvalidReference:
        return ""


def _digits(name: str) -> str:
    """The beginning of an image's id, long enough to mean one; empty for what is none."""
    digits = name.removeprefix("sha256:")
    return digits if len(digits) >= _SHORTEST_ID and set("0123456789abcdef").issuperset(digits) else ""

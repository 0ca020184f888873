"""``/images``: import, list, inspect, tag, remove."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from docket.adapters.api.container_filters import label_test
from docket.adapters.api.filters import parse_filters
from docket.adapters.api.history import state_at
from docket.adapters.api.registry import pull
from docket.adapters.api.times import NEVER
from docket.adapters.http import HttpError, Request, Response, Route, Stream, StreamSender
from docket.domain.engine import Engine
from docket.domain.errors import InvalidArgument, Rejected, Rejection
from docket.domain.jobs.images import Import
from docket.domain.model.image import events
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.model.state import EngineState
from docket.domain.oci.reference import parse_reference

_FILTERS = frozenset({"reference", "dangling", "label", "before", "since"})
_MOST_STARS = 4


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def list_(request: Request) -> Response:
        state = await state_at(engine, request.query.get("at"))
        passes = _image_test(state, parse_filters(request.query.get("filters"), _FILTERS))
        ordered = sorted(filter(passes, state.images.values()), key=lambda image: image.imported_ns, reverse=True)
        return Response.json([_row(engine, image) for image in ordered])

    async def inspect(request: Request) -> Response:
        return Response.json(_inspect(_found(engine, request)))

    async def tag(request: Request) -> Response:
        repository, name = request.query.get("repo") or "", request.query.get("tag")
        reference = f"{repository}:{name}" if name else repository
        await engine.run(engine.job("tag", (request.parameters["name"], reference), request.peer.actor))
        return Response.empty(201)

    async def remove(request: Request) -> Response:
        name, force = request.parameters["name"], request.query.boolean("force")
        happened = await engine.run(engine.job("rmi", (name,), request.peer.actor, force))
        return Response.json([shown for event in happened if (shown := _deleted(event)) is not None])

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
        Route("GET", "/images/{name:path}/json", inspect),
        Route("POST", "/images/{name:path}/tag", tag),
        Route("DELETE", "/images/{name:path}", remove),
    ]


def _image_test(state: EngineState, filters: dict[str, tuple[str, ...]]) -> Callable[[Image], bool]:
    """Whether an image passes all filters; of the values of one filter one is enough, but for labels."""

    def test(name: str, value: str) -> Callable[[Image], bool]:
        if name == "label":
            has = label_test(value)
            return lambda image: has(image.defaults.labels)
        if name == "reference":
            pattern = _glob(value)
            return lambda image: any(
                pattern.fullmatch(form) for tagged in _familiar(image) for form in (tagged, tagged.rpartition(":")[0])
            )
        if name == "dangling":
            wanted = value.lower() in {"1", "true", "t"}
            return lambda image: (not image.references) == wanted
        other = find_image(state, value)
        if isinstance(other, Rejection):
            raise Rejected(other)
        when = other.imported_ns
        return (lambda image: image.imported_ns < when) if name == "before" else (lambda image: image.imported_ns > when)

    groups = [(all if name == "label" else any, [test(name, each) for each in values]) for name, values in filters.items()]
    return lambda image: all(combine(each(image) for each in tests) for combine, tests in groups)


def _glob(pattern: str) -> re.Pattern[str]:
    """A reference with the wildcards of Go's path.Match, of which ``*`` and ``?`` are understood."""
    if pattern.count("*") > _MOST_STARS:
        raise Rejected(InvalidArgument(f"invalid filter 'reference={pattern}': no more than {_MOST_STARS} wildcards"))
    return re.compile(re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))


def _found(engine: Engine, request: Request) -> Image:
    image = find_image(engine.state, request.parameters["name"])
    if isinstance(image, Rejection):
        raise Rejected(image)
    return image


def _familiar(image: Image) -> list[str]:
    return [parse_reference(reference).familiar for reference in image.references]


def _row(engine: Engine, image: Image) -> dict[str, Any]:
    users = sum(container.image_id == image.id for container in engine.state.containers.values())
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": _familiar(image),
        "RepoDigests": [],
        "Created": image.imported_ns // 1_000_000_000,
        "Size": image.size,
        "SharedSize": -1,
        "Labels": image.defaults.labels,
        "Containers": users,
    }


def _inspect(image: Image) -> dict[str, Any]:
    defaults = image.defaults
    return {
        "Id": image.id,
        "RepoTags": _familiar(image),
        "RepoDigests": [],
        "Parent": "",
        "Comment": image.comment,
        "DockerVersion": "",
        "Metadata": {"LastTagTime": NEVER},
        "Created": image.created,
        "Author": image.author,
        "Architecture": image.architecture,
        "Os": image.operating_system,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Config": {
            "User": defaults.user,
            "Env": list(defaults.environment),
            "Cmd": None if defaults.command is None else list(defaults.command),
            "Entrypoint": None if defaults.entrypoint is None else list(defaults.entrypoint),
            "WorkingDir": defaults.working_directory,
            "Labels": defaults.labels,
            "OnBuild": None,
            "ExposedPorts": {port: {} for port in defaults.exposed_ports},
            "Volumes": {path: {} for path in defaults.volumes},
        },
    }


def _deleted(event: object) -> dict[str, str] | None:
    if isinstance(event, events.ImageUntagged):
        return {"Untagged": parse_reference(event.reference).familiar}
    return {"Deleted": event.image} if isinstance(event, events.ImageRemoved) else None

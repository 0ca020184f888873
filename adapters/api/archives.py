"""Images and archives: save (``/images/get``), load (``/images/load``), prune, history, and what all takes (``/system/df``)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from docket.adapters.api.container_filters import label_test
from docket.adapters.api.container_json import summary
from docket.adapters.api.filters import parse_filters
from docket.adapters.api.image_json import deleted, familiar, row
from docket.adapters.api.progress import progress_stream
from docket.adapters.api.times import parse_time
from docket.adapters.http import HttpError, Request, Response, Route, Stream, StreamSender
from docket.domain.confinement.durations import parse_duration
from docket.domain.engine import Engine
from docket.domain.errors import InvalidArgument, Rejected, Rejection
from docket.domain.image_ports import Usage
from docket.domain.jobs.archives import Load, Save, images_to_save
from docket.domain.model.image.commands import PruneImages
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import parse_digest
from docket.domain.oci.image_config import decode_image_config
from docket.domain.sweeping import stored

_PRUNE_FILTERS = frozenset({"dangling", "until", "label", "label!"})
_TRUE, _FALSE = frozenset({"1", "true", "t"}), frozenset({"0", "false", "f"})
_MISSING = "<missing>"


def routes(engine: Engine) -> list[Route]:
    """The routes of this file."""

    async def save(request: Request) -> Stream:
        return _save(engine, request, request.query.all("names"))

    async def save_one(request: Request) -> Stream:
        return _save(engine, request, [request.parameters["name"]])

    async def load(request: Request) -> Response | Stream:
        chunks, quiet, actor = aiter(request.body_stream()), request.query.boolean("quiet"), request.peer.actor
        return await progress_stream(engine, lambda told: engine.job("load", (), actor, Load(chunks, told, quiet)))

    async def history(request: Request) -> Response:
        return Response.json(await _history(engine, request.parameters["name"]))

    async def prune(request: Request) -> Response:
        ask = _asked_prune(engine, parse_filters(request.query.get("filters"), _PRUNE_FILTERS))
        pruned = await engine.run(engine.job("prune", ("images",), request.peer.actor, ask))
        gone = [shown for event in pruned.happened if (shown := deleted(event)) is not None]
        return Response.json({"ImagesDeleted": gone or None, "SpaceReclaimed": pruned.reclaimed_bytes})

    async def usage(request: Request) -> Response:
        return Response.json(await _usage(engine))

    return [
        Route("GET", "/images/get", save),
        Route("GET", "/images/{name:path}/get", save_one),
        Route("POST", "/images/load", load, body_limit=None),
        Route("GET", "/images/{name:path}/history", history),
        Route("POST", "/images/prune", prune),
        Route("GET", "/system/df", usage),
    ]


def _save(engine: Engine, request: Request, names: list[str]) -> Stream:
    if not names:
        raise HttpError(400, "no images to save: name them with names=")
    images_to_save(engine.state, names)  # what is not there is a 404, as long as no byte has been sent

    async def write(out: StreamSender) -> None:
        await engine.run(engine.job("save", tuple(names), request.peer.actor, Save(out.send)))

    return Stream(write, content_type="application/x-tar")


# Prune.


def _asked_prune(engine: Engine, filters: dict[str, tuple[str, ...]]) -> PruneImages:
    """``dangling`` is true unless it is said to be false; the other filters must all hold."""
    tests: list[Callable[[Image], bool]] = []
    tagged = False
    for name, values in filters.items():
        for value in values:
            if name == "dangling":
                if value.lower() not in _TRUE | _FALSE:
                    raise Rejected(InvalidArgument(f"invalid filter 'dangling={value}'"))
                tagged = value.lower() in _FALSE
            else:
                tests.append(_prune_test(name, value, engine.ports.clock.now_ns()))
    images = sorted(image.id for image in engine.state.images.values() if all(test(image) for test in tests))
    return PruneImages(tuple(images), tagged)


def _prune_test(name: str, value: str, now_ns: int) -> Callable[[Image], bool]:
    if name == "until":
        moment = _moment(value, now_ns)
        return lambda image: image.imported_ns < moment
    has = label_test(value)
    return (lambda image: has(image.defaults.labels)) if name == "label" else (lambda image: not has(image.defaults.labels))


def _moment(value: str, now_ns: int) -> int:
    """A time, or a duration before now."""
    try:
        return now_ns - parse_duration(value)
    except Rejected:
        return parse_time(value)


# History.


async def _history(engine: Engine, name: str) -> list[dict[str, Any]]:
    """The config's history, newest first, and with the newest step the events that made the image here."""
    image = find_image(engine.state, name)
    if isinstance(image, Rejection):
        raise Rejected(image)
    config = decode_image_config(await engine.ports.images.document(parse_digest(image.id)))
    sizes = iter(await _layer_sizes(engine, image))
    rows: list[dict[str, Any]] = [
        {
            "Id": _MISSING,
            "Created": _seconds(step.created or config.created),
            "CreatedBy": step.created_by,
            "Tags": None,
            "Size": 0 if step.empty_layer else next(sizes, 0),
            "Comment": step.comment,
        }
        for step in config.history
    ]
    rows += [
        {"Id": _MISSING, "Created": _seconds(config.created), "CreatedBy": "", "Tags": None, "Size": size, "Comment": ""}
        for size in sizes
    ]
    rows.reverse()
    if rows:
        await engine.ports.store.settle()
        rows[0] |= {"Id": image.id, "Tags": familiar(image.references) or None, "Events": _events(engine, image)}
    return rows


def _events(engine: Engine, image: Image) -> list[dict[str, Any]]:
    """docket's own: who did what to this image, and when."""
    shown = []
    for event in engine.ports.store.read(stream=f"image-{image.id.removeprefix('sha256:')}"):
        metadata = event.metadata
        data = {name: value for name in ("reference", "origin", "source") if (value := getattr(event.event, name, ""))}
        shown.append(
            {
                "Position": event.position, "Type": type(event.event).__name__, "Time": metadata.time_ns,
                "Job": metadata.job, "Actor": metadata.actor, **{name.capitalize(): value for name, value in data.items()},
            }
        )  # fmt: skip
    return shown


def _seconds(created: str) -> int:
    """An RFC 3339 time of a stranger's, in seconds; 0 where it says nothing."""
    try:
        return max(int(datetime.fromisoformat(created).timestamp()), 0)
    except (ValueError, OverflowError):
        return 0


async def _layer_sizes(engine: Engine, image: Image) -> list[int]:
    """Of each layer, lowest first."""
    chain = chain_ids([parse_digest(each) for each in image.layers])
    inventory = engine.ports.inventory
    measured = await inventory.usage([stored(image)], []) if inventory is not None else Usage()
    return [measured.layers.get(each, 0) for each in chain]


# What everything takes.


async def _usage(engine: Engine) -> dict[str, Any]:
    state, places = engine.state, engine.ports.places
    images, containers = list(state.images.values()), list(state.containers.values())
    uppers = {each.id: f"{places.container(each.id)}/upper" for each in containers}
    inventory = engine.ports.inventory
    measured = Usage()
    if inventory is not None:
        measured = await inventory.usage([stored(image) for image in images], list(uppers.values()))
    chains = {image.id: set(chain_ids([parse_digest(each) for each in image.layers])) for image in images}
    holders: dict[str, int] = {}
    for chain in chains.values():
        for layer in chain:
            holders[layer] = holders.get(layer, 0) + 1
    shared = {key: sum(measured.layers.get(layer, 0) for layer in chain if holders[layer] > 1) for key, chain in chains.items()}
    sizes = {image.id: image.size for image in images}
    rows = []
    for container in containers:
        written = measured.directories.get(uppers[container.id], 0)
        root = sizes.get(container.image_id, 0) + written
        rows.append({**summary(container, engine.ports.clock.now_ns()), "SizeRw": written, "SizeRootFs": root})
    return {
        "LayersSize": sum(measured.layers.values()),
        "Images": [{**row(state, image), "SharedSize": shared[image.id]} for image in images],
        "Containers": rows,
        "Volumes": [],
        "BuildCache": [],
        "BuilderSize": 0,
    }

"""save and load: images to and from an archive. prune: images that nobody uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

import msgspec

from docket.domain.engine import Engine, Job
from docket.domain.errors import Rejected, Rejection
from docket.domain.image_ports import SavedImage
from docket.domain.log import Event
from docket.domain.model.engine.events import ImagesPruned
from docket.domain.model.image import events
from docket.domain.model.image.commands import LoadImage, PruneImages
from docket.domain.model.image.decide import find_image
from docket.domain.model.image.state import Image
from docket.domain.model.state import EngineState
from docket.domain.oci.reference import InvalidReference, parse_reference
from docket.domain.sweeping import stored, sweep, sweep_later
from docket.domain.transferring import Progress, Step, short, unheard


class Load(msgspec.Struct, frozen=True):
    """``quiet`` tells the images' names and nothing else."""

    chunks: AsyncIterator[bytes]
    progress: Progress = unheard
    quiet: bool = False


class Save(msgspec.Struct, frozen=True):
    """``send`` takes the archive piece by piece."""

    send: Callable[[bytes], Awaitable[None]]


class Pruned(msgspec.Struct, frozen=True):
    """What a prune did."""

    happened: Sequence[Event]
    reclaimed_bytes: int


async def load(engine: Engine, job: Job) -> tuple[str, ...]:
    """Returns the images' ids. Raises `Rejected`, `PortError`; then none of the archive's images can be seen."""
    request: Load = job.request

    def told(diff_id: str, current: int, total: int) -> None:
        if not request.quiet:
            request.progress(Step("Loading layer", short(diff_id), current, total, moves=True))

    try:
        async with engine.custody.shared():
            loaded = await engine.ports.images.load(request.chunks, told)
            for each in loaded:
                await engine.execute(LoadImage(each.imported, each.references), job)
    finally:
        engine.spawn(sweep_later, engine)  # documents of the archive that became nobody's, and all of one that failed
    for each in loaded:
        names = [f"Loaded image: {parse_reference(name).familiar}" for name in each.references]
        for text in names or [f"Loaded image ID: {each.imported.image}"]:
            request.progress(Step(text, stream=True))
    return tuple(each.imported.image for each in loaded)


def images_to_save(state: EngineState, names: Sequence[str]) -> list[SavedImage]:
    """What the names mean: a tag with its name, a repository with all its tags, an id without a name. Raises `Rejected`."""
    found: dict[str, tuple[Image, list[str]]] = {}
    for name in names:
        for image, references in _meant(state, name):
            known = found.setdefault(image.id, (image, []))[1]
            known += [reference for reference in references if reference not in known]
    return [SavedImage(stored(image), tuple(references)) for image, references in found.values()]


def _meant(state: EngineState, name: str) -> list[tuple[Image, list[str]]]:
    try:
        reference = parse_reference(name, default_tag=False)
    except InvalidReference:
        reference = None
    if reference is not None and not reference.tag and not reference.digest:
        tags = sorted(each for each in state.references if each.startswith(f"{reference}:") and "@" not in each)
        if tags:
            return [(state.images[state.references[each]], [each]) for each in tags]
    image = find_image(state, name)
    if isinstance(image, Rejection):
        raise Rejected(image)
    named = str(reference) if reference is not None and str(reference) in image.references else ""
    return [(image, [named] if named else [])]


async def save(engine: Engine, job: Job) -> None:
    """Write the images that the arguments name into one archive. Raises `Rejected` before the first byte, `PortError`."""
    request: Save = job.request
    async with engine.custody.shared():
        images = images_to_save(engine.state, job.arguments)
        async with aclosing(engine.ports.images.save(images)) as pieces:
            async for piece in pieces:
                await request.send(piece)
    saved = [each.stored.image for each in images]
    await engine.record([events.ImageSaved(image) for image in saved if image in engine.state.images], job)


async def prune(engine: Engine, job: Job) -> Pruned:
    """Remove the images of the request (a `PruneImages`) that nobody uses, and all garbage."""
    request: PruneImages = job.request
    happened: list[Event] = list(await engine.execute(request, job))
    removed = [events.ImageRemoved(event.image) for event in happened if isinstance(event, events.ImageRemoving)]
    await engine.record(removed, job)
    swept = await sweep(engine, job, partials=True)
    await engine.record([ImagesPruned(len(removed), swept.reclaimed_bytes)], job)
    return Pruned([*happened, *removed], swept.reclaimed_bytes)

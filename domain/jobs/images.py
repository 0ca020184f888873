"""import, tag and rmi: images come from an archive, get names, and go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from docket.domain.engine import Engine, Job
from docket.domain.log import Event
from docket.domain.model.image import events
from docket.domain.model.image.commands import AddImage, RemoveImage, TagImage
from docket.domain.model.image.state import ImageStatus
from docket.domain.oci.reference import parse_reference
from docket.domain.sweeping import sweep_later

BASE = "docker.io/docket/base:latest"
BRINGS_IMAGES = frozenset({"import", "load", "pull", "commit", "create"})
"""The jobs under which blobs and layers come that no event names yet."""


class Import(msgspec.Struct, frozen=True):
    """``reference`` is normalised, or empty for an image without a name."""

    chunks: AsyncIterator[bytes]
    reference: str = ""
    changes: tuple[str, ...] = ()
    message: str = ""
    source: str = "-"


async def import_(engine: Engine, job: Job) -> str:
    """Returns the image's id."""
    request: Import = job.request
    images = engine.ports.images
    async with engine.custody.shared():
        imported = await images.import_archive(request.chunks, request.changes, request.message, request.source)
        await engine.execute(AddImage(imported, request.reference), job)
    return imported.image


async def ensure_base(engine: Engine, job: Job) -> None:
    """Assemble the embedded image at first use; afterwards there is nothing to do."""
    if BASE in engine.state.references:
        return
    async with engine.custody.shared():
        reference, imported = await engine.ports.images.import_base()
        await engine.execute(AddImage(imported, reference), job)


def is_being_removed(engine: Engine, image: str) -> bool:
    """False once it was imported again meanwhile: then it stays."""
    found = engine.state.images.get(image)
    return found is not None and found.status is ImageStatus.REMOVING


async def tag(engine: Engine, job: Job) -> None:
    """Give the image that the first argument names the reference of the second."""
    await engine.execute(TagImage(job.arguments[0], str(parse_reference(job.arguments[1]))), job)


async def remove(engine: Engine, job: Job) -> Sequence[Event]:
    """Untag or remove the image that the first argument names; ``job.request`` is True to force. Returns what happened."""
    force: bool = job.request
    decided = list(await engine.execute(RemoveImage(job.arguments[0], force), job))
    removing = next((event for event in decided if isinstance(event, events.ImageRemoving)), None)
    if removing is not None and is_being_removed(engine, removing.image):
        removed = events.ImageRemoved(removing.image)
        await engine.record([removed], job)
        decided.append(removed)
        engine.spawn(sweep_later, engine)
    return decided

"""Garbage: blobs and layers that no event speaks for go when an image was removed, after a load, and when the engine starts."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError
from docket.domain.image_ports import StoredImage, Swept
from docket.domain.model.engine.events import EngineSwept
from docket.domain.model.image.state import Image, ImageStatus


def stored(image: Image) -> StoredImage:
    """What the image needs on disk."""
    return StoredImage(image.id, image.manifest, image.manifest_type, image.layers)


async def sweep(engine: Engine, job: Job, partials: bool = False) -> Swept:
    """Delete what nobody needs; waits until nobody brings an image. Raises `PortError`."""
    async with engine.custody.alone():
        images, stacks = await _needed(engine)
        swept = await engine.ports.images.sweep(images, stacks, partials)
        if swept.blobs or swept.layers:
            await engine.record([EngineSwept(swept.blobs, swept.layers, swept.reclaimed_bytes)], job)
    return swept


async def _needed(engine: Engine) -> tuple[list[StoredImage], list[tuple[str, ...]]]:
    """What must stay. A removal that is not on disk yet counts only once it is: after a crash the image would be there again."""
    store = engine.ports.store
    while True:
        state, generation = engine.state, store.generation
        images = [stored(image) for image in state.images.values() if image.status is ImageStatus.PRESENT]
        stacks = sorted({container.layers for container in state.containers.values()})
        await store.settle()
        if store.generation == generation:
            return images, stacks


async def sweep_later(engine: Engine) -> None:
    """The same as work of the engine's own: what the disk refuses is left for the next time."""
    try:
        await sweep(engine, engine.task("sweep", ()))
    except PortError as error:
        engine.ports.report("warning", "blobs and layers that nobody needs could not be deleted", error=error)

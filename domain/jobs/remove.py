"""remove: kill first when forced, then delete everything the container has."""

from __future__ import annotations

import msgspec

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError, Rejected
from docket.domain.jobs import launching
from docket.domain.model.container import events
from docket.domain.model.container.commands import RemoveContainer

_SIGKILL = 9


class Remove(msgspec.Struct, frozen=True):
    force: bool = False
    volumes: bool = False


async def remove(engine: Engine, job: Job) -> None:
    """Remove the container that the first argument names; with ``force`` even while it runs."""
    request: Remove = job.request
    container = engine.container(job.arguments[0])
    if request.force and container.alive:
        await engine.ports.kernel.signal(container.id, launching.identity_of(container), _SIGKILL)
    while True:
        generation = engine.ports.store.generation
        while request.force and container.alive:
            await engine.progress()
        try:
            await remove_container(engine, job, container.id)
        except Rejected:
            if container.id not in engine.state.containers:
                return
            if generation == engine.ports.store.generation:
                raise
            continue  # the disk took back the end that was seen
        return


async def remove_container(engine: Engine, job: Job, container_id: str) -> None:
    """Intent, effect, outcome. Raises `Rejected` when the container's state forbids it."""
    await engine.execute(RemoveContainer(container_id), job)
    await finish_removal(engine, job, container_id)


async def finish_removal(engine: Engine, job: Job, container_id: str) -> None:
    """Effect and outcome of a removal whose intent is in the log. Raises `PortError`; that is in the log then."""
    await engine.holds.free(container_id)
    releasing = engine.releasing.get(container_id)
    if releasing is not None:
        await releasing.wait()  # what is removed leaves nothing
    try:
        await engine.ports.rootfs.remove(engine.ports.places.container(container_id))
    except PortError as error:
        await engine.record([events.ContainerRemoveFailed(container_id, str(error))], job)
        raise
    for attachment in engine.waiting.pop(container_id, ()):
        attachment.endpoint.close()
    await engine.record([events.ContainerRemoved(container_id)], job)

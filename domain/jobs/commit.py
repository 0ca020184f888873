"""commit: an image of a container's writable layer, over the layers that the container was made from.

Intent, effect, outcome: `ContainerCommitting`, then the layer is packed, frozen meanwhile if asked for, then the image and
`ContainerCommitted` in one batch. Once the intent is in the log the job goes through, whether its client still waits or not.
"""

from __future__ import annotations

import msgspec
import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import Conflict, PortError, Rejected
from docket.domain.jobs.pause import freeze
from docket.domain.layer_commit import LayerCommit
from docket.domain.model import texts
from docket.domain.model.container import events
from docket.domain.model.container.commands import CommitContainer, FinishCommit, UnpauseContainer
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container, ContainerStatus
from docket.domain.model.image.events import ImageImported
from docket.domain.oci.changes import apply_changes
from docket.domain.oci.image_config import Empty, ExecutionParameters
from docket.domain.oci.merge import merged
from docket.domain.plan.views import PLACEHOLDERS


class Commit(msgspec.Struct, frozen=True):
    """``reference`` is normalised, or empty for an image without a name."""

    reference: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True


class Settings(msgspec.Struct, frozen=True):
    """What the image is to say otherwise than the container: it may hold secrets, and is the job's ``private`` part."""

    parameters: ExecutionParameters = ExecutionParameters()
    changes: tuple[str, ...] = ()


async def commit(engine: Engine, job: Job) -> str:
    """Make an image of the container that the first argument names; returns its id. Raises `Rejected`, `PortError`."""
    request: Commit = job.request
    container = engine.container(job.arguments[0])
    asked: Settings = job.private or Settings()
    parameters = merged(apply_changes(asked.parameters, asked.changes), parameters_of(engine, container.spec))
    decided = await engine.execute(CommitContainer(container.id, request.pause), job)
    with trio.CancelScope(shield=True):
        try:
            layer = _layer(engine, container, request, parameters)
            async with engine.custody.shared():
                imported = await _image(engine, job, container, layer, len(decided) > 1)
                finish = FinishCommit(container.id, imported, request.reference, request.comment)
                await engine.execute(finish, job)
        except Exception as error:  # also what is a bug: an intent never stays without an outcome
            await engine.record([events.ContainerCommitFailed(container.id, str(error))], job)
            raise
    return imported.image


def parameters_of(engine: Engine, spec: ContainerSpec) -> ExecutionParameters:
    """What the container was created with, as an image says it. Raises `Rejected` when its environment was forgotten."""
    environment = engine.ports.store.secret(spec.environment)
    if environment is None:
        raise Rejected(Conflict("the environment of this container was forgotten: an image of it cannot say what it was"))
    return ExecutionParameters(
        user=spec.user,
        exposed_ports={port: Empty() for port in spec.exposed_ports},
        env=tuple(entry for entry in environment.decode().split("\0") if entry),
        entrypoint=spec.entrypoint or None,
        cmd=spec.command or None,
        volumes={path: Empty() for path in spec.volumes},
        working_dir=spec.working_directory,
        labels=dict(spec.labels),
        stop_signal=spec.stop_signal,
        stop_timeout=spec.stop_timeout_seconds,
    )


def _layer(engine: Engine, container: Container, request: Commit, parameters: ExecutionParameters) -> LayerCommit:
    parent = engine.state.images.get(container.image_id)
    if parent is None:  # it was removed while the intent became durable
        raise Rejected(texts.no_such_image(container.image_id))
    return LayerCommit(
        parent.manifest,
        parent.size,
        f"{engine.ports.places.container(container.id)}/upper",
        PLACEHOLDERS,
        parameters,
        request.author,
        request.comment,
        " ".join(container.spec.command),
    )


async def _image(engine: Engine, job: Job, container: Container, layer: LayerCommit, pauses: bool) -> ImageImported:
    """The image, made while the container is frozen if its intent says so; it is thawed again whatever becomes of the image."""
    if not pauses:
        return await engine.ports.images.commit(layer)
    await freeze(engine, job, container)
    try:
        return await engine.ports.images.commit(layer)
    finally:
        await _thaw(engine, job, container)


async def _thaw(engine: Engine, job: Job, container: Container) -> None:
    """Thaw what this commit has frozen, unless somebody did, or it has ended. A refusal is in the log, and no reason to fail."""
    if container.status is not ContainerStatus.PAUSED:
        return
    try:
        await engine.execute(UnpauseContainer(container.id), job)
        await engine.ports.kernel.thaw(container.cgroup)
    except Rejected:
        return
    except PortError as error:
        await engine.record([events.ContainerUnpauseFailed(container.id, str(error))], job)
        return
    await engine.record([events.ContainerUnpaused(container.id)], job)


async def settle_commit(engine: Engine, job: Job, container: Container) -> None:
    """Recovery: what the engine has not lived to end has made no image, and does not stay frozen."""
    if not container.committing:
        return
    if container.thaws:
        await _thaw(engine, job, container)
    await engine.record([events.ContainerCommitFailed(container.id, "the engine ended before the image was made")], job)

"""changes, export, archive_get, archive_put: looking at a container's files, and copying them, whether it runs or not.

A container that runs is looked at through its own first process; one that does not is held meanwhile (`docket.domain.holds`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager

import msgspec

from docket.domain.container_files import ContainerFiles, ContainerTree, Extraction, FileChange, PathStat
from docket.domain.engine import Engine, Job
from docket.domain.errors import Rejected, Unavailable, Unsupported
from docket.domain.jobs.launching import identity_of
from docket.domain.model import texts
from docket.domain.model.container.state import Container
from docket.domain.plan import views

Send = Callable[[bytes], Awaitable[None]]


class Get(msgspec.Struct, frozen=True):
    """``send`` takes the archive piece by piece."""

    path: str
    send: Send


class Put(msgspec.Struct, frozen=True):
    path: str
    chunks: AsyncIterator[bytes]
    how: Extraction = Extraction()


def files(engine: Engine) -> ContainerFiles:
    """The port. Raises `Unavailable` where there are no files behind the log."""
    found = engine.ports.container_files
    if found is None:
        raise Unavailable("the log is only looked at: there are no files behind it")
    return found


async def settled(engine: Engine, reference: str) -> Container:
    """The container that the caller means, once nothing of it is under way. Raises `Rejected`."""
    container = engine.container(reference)
    while container.unsettled:
        await engine.progress()
        if container.id not in engine.state.containers:
            raise Rejected(texts.no_such_container(reference))
    return container


def tree_of(engine: Engine, container: Container, reference: str, *, alone: bool = False) -> ContainerTree:
    """What a look at the container's files needs to know; ``alone`` without what is mounted on its root."""
    places, spec = engine.ports.places, container.spec
    lowerdirs = engine.ports.rootfs.lowerdirs(container.layers)
    # In the root of a process with mapped ids all owners are others; on disk they are the image's.
    apart = container.alive and spec.id_maps is not None
    if alone or apart:
        view = views.readable(container.id, lowerdirs, places)
    else:
        view = views.writable(container.id, spec, lowerdirs, places)
    return ContainerTree(
        container.id,
        reference,
        identity_of(container) if container.alive and not apart else None,
        view,
        f"{places.container(container.id)}/upper",
        lowerdirs,
        views.PLACEHOLDERS,
        tuple(mount.target for mount in spec.mounts),
        spec.user,
    )


@contextmanager
def _held(engine: Engine, container: Container) -> Iterator[None]:
    if container.alive:
        yield
    else:
        with engine.holds.held(container.id):
            yield


async def changes(engine: Engine, job: Job) -> tuple[FileChange, ...]:
    """How the files of the container that the first argument names differ from its image's."""
    container = await settled(engine, job.arguments[0])
    with engine.holds.held(container.id):
        return await files(engine).changes(tree_of(engine, container, job.arguments[0]))


async def stat(engine: Engine, reference: str, path: str) -> PathStat:
    """What a path in a container is."""
    container = await settled(engine, reference)
    with _held(engine, container):
        return await files(engine).stat(tree_of(engine, container, reference), path)


async def export(engine: Engine, job: Job) -> None:
    """Send the root of the container that the first argument names to ``job.request``."""
    container = await settled(engine, job.arguments[0])
    with _held(engine, container):
        await _sent(files(engine).export(tree_of(engine, container, job.arguments[0], alone=True)), job.request)


async def get(engine: Engine, job: Job) -> None:
    """Send an archive of a path in the container that the first argument names."""
    request: Get = job.request
    container = await settled(engine, job.arguments[0])
    with _held(engine, container):
        await _sent(files(engine).read(tree_of(engine, container, job.arguments[0]), request.path), request.send)


async def put(engine: Engine, job: Job) -> None:
    """Unpack an archive in a directory of the container that the first argument names."""
    request: Put = job.request
    container = await settled(engine, job.arguments[0])
    if container.alive and container.spec.id_maps is not None:
        raise Rejected(Unsupported("cp into a running container with mapped ids is not supported yet: stop it first"))
    with _held(engine, container):
        await files(engine).write(tree_of(engine, container, job.arguments[0]), request.path, request.chunks, request.how)


async def _sent(pieces: AsyncGenerator[bytes, None], send: Send) -> None:
    async with aclosing(pieces):
        async for piece in pieces:
            await send(piece)

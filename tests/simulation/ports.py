"""The ports of one life: they pass points, and refuse once the life is over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import trio
from tests.simulation.disk import Disk
from tests.simulation.life import Killed, Life

from docket.domain.errors import KernelError, Unavailable
from docket.domain.image_ports import Images, LoadedImage, SavedImage, StoredImage, Swept
from docket.domain.layer_commit import LayerCommit
from docket.domain.log import Batch, Fate, Seal, StoredEvent
from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.oci.digest import Digest, digest_of
from docket.domain.oci.image_config import decode_image_config
from docket.domain.oci.stack import StackedLayer
from docket.domain.plan.operations import Operation
from docket.domain.ports import EventStore, HostFacts, Kernel, OutputLogs, Rootfs, Ticket
from docket.kernel.fake.faults import Faults, SimulatedCrash, Step, fail
from docket.kernel.fake.linux_errno import CallFailed

T = TypeVar("T")
_EIO = 5


class MortalTicket:
    """A ticket of a life."""

    def __init__(self, inner: Ticket, life: Life, what: str, acknowledged: Callable[[list[StoredEvent]], None]) -> None:
        self.events = inner.events
        self._inner, self._life, self._what, self._acknowledged = inner, life, what, acknowledged

    async def durable(self) -> list[StoredEvent]:
        with self._life.wait():
            events = await self._inner.durable()
        self._life.point("durable", self._what)
        self._acknowledged(events)
        return events


class MortalStore:
    """A store of a life. ``acknowledged`` hears of every event whose durability somebody was told of."""

    def __init__(self, inner: EventStore, life: Life, acknowledged: Callable[[list[StoredEvent]], None]) -> None:
        self._inner, self._life, self._acknowledged = inner, life, acknowledged

    @property
    def generation(self) -> int:
        return self._inner.generation

    def submit(self, batch: Batch, *, deferred: bool = False) -> MortalTicket:
        what = "+".join(type(event).__name__ for event in batch.events)
        self._life.point("submit", what)
        ticket = self._inner.submit(batch, deferred=deferred)
        self._life.point("submitted", what)
        return MortalTicket(ticket, self._life, what, self._acknowledged)

    async def append(self, batch: Batch) -> list[StoredEvent]:
        return await self.submit(batch).durable()

    def save_snapshot(self, position: int, data: bytes) -> None:
        self._life.check()
        self._inner.save_snapshot(position, data)

    def save_recording(self, job: str, data: bytes) -> None:
        self._life.check()
        self._inner.save_recording(job, data)

    def archive(self, upto: int) -> Seal:
        self._life.point("call", "archive")
        seal = self._inner.archive(upto)
        self._life.point("did", "archive")
        return seal

    def trim(self, fate: Callable[[str], Fate]) -> Iterator[int]:
        self._life.point("call", "trim")
        for deleted in self._inner.trim(fate):
            self._life.point("did", "trim")
            yield deleted

    def sweep(self) -> None:
        self._life.point("call", "sweep")
        self._inner.sweep()
        self._life.point("did", "sweep")

    def forget(self, reference: str) -> bool:
        self._life.check()
        return self._inner.forget(reference)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _strike(failing: set[str], call: str) -> None:
    if call in failing:
        failing.discard(call)
        raise KernelError("", call, _EIO, "", "input/output error")


class MortalKernel:
    """A kernel of a life, whatever its calls are. One whose end the engine does not live to see has its effect all the same."""

    def __init__(self, inner: Kernel, life: Life, failing: set[str]) -> None:
        self._inner, self._life, self._failing = inner, life, failing

    def host(self) -> HostFacts:
        return self._inner.host()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self._inner, name)

        async def pointed(*arguments: Any) -> Any:
            self._life.point("call", name)
            _strike(self._failing, name)
            try:
                return await call(*arguments)
            except SimulatedCrash:
                raise Killed from None
            finally:
                self._life.point("did", name)

        return pointed


class MortalRootfs:
    """Root filesystems of a life."""

    def __init__(self, inner: Rootfs, life: Life, failing: set[str]) -> None:
        self._inner, self._life, self._failing = inner, life, failing

    def lowerdirs(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        self._life.check()
        return self._inner.lowerdirs(diff_ids)

    async def remove(self, path: str) -> None:
        self._life.point("call", "rootfs.remove")
        _strike(self._failing, "rootfs.remove")
        try:
            await self._inner.remove(path)
        finally:
            self._life.point("did", "rootfs.remove")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class MortalOutputs:
    """Output logs of a life."""

    def __init__(self, inner: OutputLogs, life: Life) -> None:
        self._inner, self._life = inner, life

    def __getattr__(self, name: str) -> Any:
        self._life.check()
        return getattr(self._inner, name)


class MortalImages:
    """Image imports and commits of a life."""

    def __init__(self, inner: Images, life: Life, failing: set[str]) -> None:
        self._inner, self._life, self._failing = inner, life, failing

    async def import_archive(
        self, chunks: AsyncIterator[bytes], changes: Sequence[str], message: str, source: str
    ) -> ImageImported:
        self._life.point("call", "import_archive")
        try:
            return await self._inner.import_archive(chunks, changes, message, source)
        finally:
            self._life.point("did", "import_archive")

    async def commit(self, commit: LayerCommit) -> ImageImported:
        self._life.point("call", "commit")
        _strike(self._failing, "commit")
        try:
            return await self._inner.commit(commit)
        finally:
            self._life.point("did", "commit")

    def __getattr__(self, name: str) -> Any:
        self._life.check()
        return getattr(self._inner, name)


class SimulatedImages:
    """Images whose blobs lie on a `Disk`: written, then synced, then named by an event."""

    def __init__(self, disk: Disk, life: Life) -> None:
        self._disk, self._life = disk, life

    async def import_archive(
        self, chunks: AsyncIterator[bytes], changes: Sequence[str], message: str, source: str
    ) -> ImageImported:
        content = b"".join([chunk async for chunk in chunks])
        digest = await self._write(content)
        return ImageImported(digest, digest, (digest,), len(content), ImageDefaults(), source=source)

    async def commit(self, commit: LayerCommit) -> ImageImported:
        """An image of its parent's blob and one more, of which its id tells."""
        digest = await self._write(commit.parent.encode()[-20:] + commit.comment.encode())
        return ImageImported(digest, digest, (commit.parent, digest), commit.parent_size, ImageDefaults())

    async def _write(self, content: bytes) -> str:
        digest = f"sha256:{content.hex():0<64.64}"
        self._life.point("call", "write blob")
        if digest not in self._disk.blobs:
            self._disk.blobs.add(digest)
            self._disk.unsynced.add(digest)
        await trio.lowlevel.checkpoint()
        self._life.point("call", "sync blob")
        self._disk.unsynced.discard(digest)
        await trio.lowlevel.checkpoint()
        return digest

    async def import_base(self) -> tuple[str, ImageImported]:
        raise Unavailable("docket/base cannot be made: the simulation imports its own images")

    async def save(self, images: Sequence[SavedImage]) -> AsyncGenerator[bytes, None]:
        for image in images:
            self._life.point("call", "read blob")
            assert image.stored.manifest in self._disk.blobs
            yield image.stored.manifest.encode()

    async def load(self, chunks: AsyncIterator[bytes], progress: Callable[[str, int, int], None]) -> list[LoadedImage]:
        imported = await self.import_archive(chunks, (), "", "")
        progress(imported.layers[0], imported.size, imported.size)
        return [LoadedImage(msgspec.structs.replace(imported, origin="load"), ("docker.io/library/loaded:1",))]

    async def sweep(self, images: Sequence[StoredImage], stacks: Sequence[tuple[str, ...]], partials: bool) -> Swept:
        needed = {name for image in images for name in (image.image, image.manifest, *image.diff_ids)}
        garbage = sorted(self._disk.blobs - needed - {layer for stack in stacks for layer in stack})
        for blob in garbage:
            self._life.point("call", "delete blob")
            self._disk.blobs.discard(blob)
            await trio.lowlevel.checkpoint()
        return Swept(len(garbage), 0, len(garbage))

    @property
    def ingest(self) -> SimulatedIngest:
        return SimulatedIngest(self._disk, self._life)

    async def document(self, digest: str) -> bytes:
        return self._content(digest)

    def _content(self, digest: str) -> bytes:
        if digest not in self._disk.contents:
            raise Unavailable(f"blob {digest} is not in the content store")
        return self._disk.contents[digest]

    async def blob(self, digest: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        await trio.lowlevel.checkpoint()
        yield self._content(digest)[offset:]


class SimulatedIngest:
    """Images of many layers on a `Disk`. Blobs are layers here: what is whole is unpacked."""

    def __init__(self, disk: Disk, life: Life) -> None:
        self._disk, self._life = disk, life

    def has_layer(self, layer: StackedLayer) -> bool:
        return layer.diff_id in self._disk.blobs

    async def fetch_layer(
        self, layer: StackedLayer, open_from: Callable[[int], AsyncIterator[bytes]], progress: Callable[[int], None]
    ) -> None:
        data = b""
        async for piece in open_from(0):
            data += piece
            progress(len(data))
        assert digest_of(data) == layer.descriptor.digest
        await self._keep({layer.diff_id: data})

    async def finish(self, manifest: bytes, media_type: str, config: bytes, *, origin: str, source: str = "") -> ImageImported:
        await self._keep({digest_of(config): config, digest_of(manifest): manifest})
        diff_ids = decode_image_config(config).rootfs.diff_ids
        return ImageImported(
            digest_of(config), digest_of(manifest), diff_ids, 10, ImageDefaults(), source=source, origin=origin,
            manifest_type=media_type,
        )  # fmt: skip

    async def _keep(self, contents: dict[Digest, bytes]) -> None:
        self._life.point("call", "write blob")
        self._disk.contents.update(contents)
        self._disk.blobs.update(contents)
        self._disk.unsynced.update(contents)
        await trio.lowlevel.checkpoint()
        self._life.point("call", "sync blob")
        self._disk.unsynced.difference_update(contents)
        await trio.lowlevel.checkpoint()


class PointedFaults(Faults):
    """Faults of the fake kernel whose steps are points of the present life too."""

    life: Life = Life()
    _then: tuple[int, int] = (0, 0)

    def count(self, kind: str) -> int:
        """How many steps of a kind there were."""
        return self._counts.get(kind, 0)

    def after_failure(self, number: int, errno: int) -> None:
        """Let the ``number``-th operation after the next failure fail too."""
        self._then = (number, errno)

    def failed(self, step: Step, failure: CallFailed) -> CallFailed:
        """Note the failure, and arrange the one that is to follow it."""
        number, errno = self._then
        if number:
            self._then = (0, 0)
            self.add(fail(self.operations + number, errno))
        return super().failed(step, failure)

    def begin(self, key: str, operation: Operation | str, what: str = "", syscall: str = "") -> tuple[Step, bool]:
        if not isinstance(operation, str):
            kind = type(operation).__name__
            self.life.passes("op", kind)
            if self.life.passes("shim", kind):
                raise SimulatedCrash(kind)
        return super().begin(key, operation, what, syscall)

    def finish(self, step: Step, crash: bool) -> None:
        super().finish(step, crash)
        if step.kind[:1].isupper():
            self.life.passes("done", step.kind)


async def chunks_of(content: bytes) -> AsyncIterator[bytes]:
    """The body of an import."""
    yield content


def kinds(steps: Sequence[Step]) -> Iterator[str]:
    """The operation types of a trace."""
    return (step.kind for step in steps if step.kind[:1].isupper())

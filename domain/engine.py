"""The engine: one fold of the log, one writer, and a table from job name to handler.

A command is decided against the whole state, its events are folded and handed to the log at once, and the caller goes on when
they are on disk. Decisions are serial because nothing between deciding and submitting waits; effects run concurrently outside.
When a commit fails, everything decided after it was decided on events that do not exist: the state is folded anew at the next
look at it. Intents that were refused are gone, and whoever asked is told; facts are kept and tried again (`docket.domain.outbox`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from docket.domain.arrivals import Arrivals
from docket.domain.compaction import Compaction
from docket.domain.container_files import ContainerFiles
from docket.domain.custody import Custody
from docket.domain.errors import Rejected, Rejection, StoreError, StoreFailed
from docket.domain.holds import Holds
from docket.domain.image_ports import Images
from docket.domain.log import Batch, Event, Metadata, Seal, StoredEvent
from docket.domain.model.container.decide import Unsettled, find_container
from docket.domain.model.container.state import Container
from docket.domain.model.decide import Command, decide
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.model.job.events import JobAccepted, JobCompleted, JobFailed
from docket.domain.model.state import EngineState, evolve
from docket.domain.outbox import Outbox
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import (
    Attachment,
    Clock,
    EventStore,
    Ids,
    Inventory,
    Kernel,
    OutputLogs,
    Reporter,
    Rootfs,
    Ticket,
    silent,
)
from docket.domain.registry import NO_REGISTRY, Registry
from docket.domain.running import RUNNING, Running
from docket.domain.snapshots import Snapshots, state_at
from docket.domain.verification import LogHealth

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUBSCRIBER_EVENTS = 10_000


class Ports(msgspec.Struct, frozen=True):
    """Everything outside that the engine works with."""

    store: EventStore
    kernel: Kernel
    clock: Clock
    ids: Ids
    outputs: OutputLogs
    rootfs: Rootfs
    images: Images
    places: Places
    files: HostFiles
    settings: EngineSettings = EngineSettings()
    report: Reporter = silent
    inventory: Inventory | None = None
    """None where there is no host to look at."""
    registry: Registry = NO_REGISTRY
    container_files: ContainerFiles | None = None
    """None where a log is only looked at."""


class Job(msgspec.Struct):
    """One request under way: a name, arguments, an environment and who asked. Its standard streams are attachments."""

    name: str
    arguments: tuple[str, ...]
    actor: str
    id: str
    request: Any = None
    environment: dict[str, str] = {}
    attachments: tuple[Attachment, ...] = ()
    private: Any = None
    """The part of the request that may hold secrets, and that is kept nowhere."""


Handler = Callable[["Engine", Job], Awaitable[Any]]


class Engine:
    """Decides, appends, and runs jobs."""

    def __init__(self, ports: Ports, nursery: trio.Nursery, jobs: dict[str, Handler]) -> None:
        self.ports = ports
        self.nursery = nursery
        self.jobs = jobs
        self.settings = ports.settings
        self.health = LogHealth()
        """What the check of the whole log has found so far."""
        self.waiting: dict[str, list[Attachment]] = {}
        """Clients attached to containers that have not started yet."""
        self.arrivals = Arrivals()
        self.custody = Custody()
        self.holds = Holds()
        self._running: set[str] = set()
        self.releasing: dict[str, trio.Event] = {}
        """Containers whose end is in the log (or about to be) and whose kernel objects are not taken back yet; set afterwards."""
        self._changed = trio.Event()
        self._subscribers: set[trio.MemorySendChannel[StoredEvent]] = set()
        self._outbox = Outbox(
            lambda events, job: self._append(events, job, {}), self.spawn, self._lost, self._wake, ports.report
        )
        ports.store.listen(self._publish)
        self.compaction = Compaction(self)
        self._state = EngineState()
        self._refold()

    @property
    def state(self) -> EngineState:
        """The fold of the log; to be read, not kept. While the log cannot be read, the last fold that there was."""
        if self.ports.store.generation != self._generation:
            try:
                self._refold()
            except StoreError as error:
                self.ports.report("error", "the log cannot be read, an older state is shown", error=error)
        return self._state

    def _refold(self) -> None:
        generation = self.ports.store.generation
        state, last = state_at(self.ports.store)
        self._state = self._state.replaced_by(state)
        self._snapshots = Snapshots(self, last)
        self._generation = generation
        self._wake()

    def save_snapshot(self) -> None:
        """Store the present fold, so that the next start needs only what comes after it."""
        self.ports.store.save_snapshot(self.state.position, msgspec.json.encode(self.state))

    # Appending.

    async def execute(self, command: Command, job: Job, secrets: dict[str, bytes] | None = None) -> Sequence[Event]:
        """Decide, append, and return the events once they are durable. Raises `Rejected`, and `StoreFailed`: nothing was kept."""
        while True:
            if self._outbox.pending:
                await self._outbox.flush()
            self._catch_up()
            decision = decide(self._state, command)
            if isinstance(decision, Unsettled):
                await self.changed()
                continue
            if isinstance(decision, Rejection):
                raise Rejected(decision)
            if decision:
                await self._append(decision, job, secrets or {})
            return decision

    async def record(self, events: Sequence[Event], job: Job) -> None:
        """Append facts; returns when they are durable.

        Raises `StoreFailed` when the disk refuses them; the engine keeps them, and tries again until the disk takes them.
        """
        if self._outbox.pending:
            self._outbox.keep(events, job)
            await self._outbox.flush()
            return
        try:
            await self._append(events, job, {})
        except StoreFailed:
            self._outbox.keep(events, job)
            raise

    async def record_surely(self, events: Sequence[Event], job: Job) -> None:
        """Append facts; returns when they are durable, however long the disk refuses them."""
        try:
            if not self._outbox.pending:
                await self._append(events, job, {})
                return
        except StoreFailed:
            pass  # the outbox says so to the operator
        await self._outbox.keep(events, job).durable.wait()

    def note(self, events: Sequence[Event], job: Job) -> None:
        """Append facts that nobody is told of by an answer: they become durable with the next commit."""
        try:
            self._catch_up()  # a later fold of the durable events would leave out what was submitted before it
        except StoreError as error:
            self.ports.report("error", "the log cannot be read, a note is lost", error=error)
            return
        self._submit(events, job, {}, deferred=True)

    async def _append(self, events: Sequence[Event], job: Job, secrets: dict[str, bytes]) -> None:
        if events:
            self._catch_up()
            await self._submit(events, job, secrets).durable()

    def _catch_up(self) -> None:
        """Before anything is decided or appended, the state is that of the log. Raises `StoreError`."""
        if self.ports.store.generation != self._generation:
            self._refold()
            self._outbox.wake()

    def _lost(self) -> tuple[Sequence[Event], Job] | None:
        """Outcomes for jobs that have ended without one in the log, because the disk refused it."""
        lost = [key for key in self.state.jobs if key not in self._running]
        if not lost:
            return None
        reason = "the disk refused the job's outcome when it ended"
        return [JobFailed(key, "StoreFailed", reason) for key in lost], self.job("recover", (), "engine")

    async def append_seal(
        self,
        event: Event,
        job: Job,
        folds: dict[int, bytes],
        *,
        seal: Seal | None = None,
        drop_upto: int = 0,
        forgotten: Sequence[str] = (),
    ) -> None:
        """Append a seal, or the end of archives, with the event that tells of it: both or neither. Raises `StoreError`."""
        self._catch_up()
        metadata = Metadata(self.ports.clock.now_ns(), job.id, job.actor)
        batch = Batch((event,), metadata, folds=folds, seal=seal, drop_upto=drop_upto, forgotten=tuple(forgotten))
        await self._place(batch).durable()

    def _submit(self, events: Sequence[Event], job: Job, secrets: dict[str, bytes], *, deferred: bool = False) -> Ticket:
        metadata = Metadata(self.ports.clock.now_ns(), job.id, job.actor)
        return self._place(Batch(tuple(events), metadata, secrets), deferred=deferred)

    def _place(self, batch: Batch, *, deferred: bool = False) -> Ticket:
        ticket = self.ports.store.submit(batch, deferred=deferred)
        for stored in ticket.events:
            evolve(self._state, stored.event, stored.metadata.time_ns, stored.position)
        if self._state.position >= self._snapshots.due:
            self._snapshots.begin()
        self._wake()
        return ticket

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _publish(self, events: Sequence[StoredEvent]) -> None:
        for subscriber in list(self._subscribers):
            try:
                for event in events:
                    subscriber.send_nowait(event)
            except trio.WouldBlock:
                self._subscribers.discard(subscriber)
                subscriber.close()
            except trio.BrokenResourceError:
                self._subscribers.discard(subscriber)

    def observe(self, events: Sequence[StoredEvent]) -> None:
        """Fold events that this engine did not append: a replay tells what others did meanwhile."""
        for stored in events:
            evolve(self._state, stored.event, stored.metadata.time_ns, stored.position)
        self._changed.set()
        self._changed = trio.Event()

    # Watching.

    async def changed(self) -> None:
        """Wait for the next event of any kind."""
        await self._changed.wait()

    async def progress(self) -> None:
        """The same for requests. Raises `StoreFailed` while the disk refuses facts: what is waited for may be one of them."""
        self._outbox.check()
        await self.changed()
        self._outbox.check()

    @property
    def subscribers(self) -> int:
        """How many read the events as they become durable."""
        return len(self._subscribers)

    @contextmanager
    def subscribe(self) -> Iterator[trio.MemoryReceiveChannel[StoredEvent]]:
        """Durable events from now on; a reader that falls 10,000 events behind is let go."""
        sender, receiver = trio.open_memory_channel[StoredEvent](_SUBSCRIBER_EVENTS)
        self._subscribers.add(sender)
        try:
            with receiver:
                yield receiver
        finally:
            self._subscribers.discard(sender)
            sender.close()

    def container(self, reference: str) -> Container:
        """The container that the caller means. Raises `Rejected`."""
        found = find_container(self.state, reference)
        if isinstance(found, Rejection):
            raise Rejected(found)
        return found

    # Jobs.

    def job(self, name: str, arguments: Sequence[str] = (), actor: str = "", request: Any = None) -> Job:
        """A job that has not been accepted yet."""
        return Job(name, tuple(arguments), actor, self.ports.ids.new(32), request)

    def task(self, name: str, arguments: Sequence[str]) -> Job:
        """A job of the engine's own, which the calling task is from now on."""
        job = self.job(name, arguments, "engine")
        RUNNING.set(self._context(job))
        return job

    @contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """What is done within is done for this job."""
        token = RUNNING.set(self._context(job))
        try:
            yield
        finally:
            RUNNING.reset(token)

    def _context(self, job: Job) -> Running:
        return Running(job.id, job.name, job.arguments, job.request, lambda: self.state.position)

    async def run(self, job: Job) -> Any:
        """Run a job from acceptance to outcome, both of which are in the log. Raises what the handler raises."""
        report = self.ports.report
        self._running.add(job.id)
        try:
            self.note([JobAccepted(job.id, job.name, job.arguments, job.environment)], job)
            with self.running(job):
                result = await self.jobs[job.name](self, job)
        except Rejected as error:
            report("debug", "job rejected", job=job.id, name=job.name, reason=error)
            self.note([JobFailed(job.id, type(error.rejection).__name__, error.rejection.message)], job)
            raise
        except StoreError as error:
            report("error", "job failed", job=job.id, name=job.name, error=error)
            raise
        except Exception as error:
            report("error", "job failed", job=job.id, name=job.name, error=error)
            self.note([JobFailed(job.id, type(error).__name__, str(error))], job)
            raise
        except BaseException:
            self.note([JobFailed(job.id, "Cancelled", "the client went away or the engine ended")], job)
            raise
        finally:
            self._running.discard(job.id)
        self.note([JobCompleted(job.id)], job)
        return result

    def spawn(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Start work that outlives its request. Its failure is reported, and ends nothing else."""
        self.nursery.start_soon(self._guarded, work, arguments)

    async def _guarded(self, work: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
        try:
            await work(*arguments)
        except Exception as error:
            self.ports.report("error", "background work failed", work=work.__name__, error=f"{type(error).__name__}: {error}")

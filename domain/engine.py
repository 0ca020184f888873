"""The engine: one fold of the log, one writer, and a table from job name to handler.

A command is decided against the whole state, its events are folded and handed to the log at once, and the caller goes on when
they are on disk. Decisions are serial because nothing between deciding and submitting waits; effects run concurrently outside.
When a commit fails, everything decided after it was decided on events that do not exist: the state is folded anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from docket.domain.errors import Rejected, Rejection, StoreError
from docket.domain.log import Batch, Event, Metadata, StoredEvent
from docket.domain.model.container.decide import Unsettled, find_container
from docket.domain.model.container.state import Container
from docket.domain.model.decide import Command, decide
from docket.domain.model.job.events import JobAccepted, JobCompleted, JobFailed
from docket.domain.model.state import EngineState, evolve, fold
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import Attachment, Clock, EventStore, Ids, Images, Kernel, OutputLogs, Rootfs, Ticket

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


class Job(msgspec.Struct):
    """One request under way: a name, arguments, an environment and who asked. Its standard streams are attachments."""

    name: str
    arguments: tuple[str, ...]
    actor: str
    id: str
    request: Any = None
    environment: dict[str, str] = {}
    attachments: tuple[Attachment, ...] = ()


Handler = Callable[["Engine", Job], Awaitable[Any]]


class Engine:
    """Decides, appends, and runs jobs."""

    def __init__(self, ports: Ports, nursery: trio.Nursery, jobs: dict[str, Handler]) -> None:
        self.ports = ports
        self.nursery = nursery
        self.jobs = jobs
        self.state = EngineState()
        self.waiting: dict[str, list[Attachment]] = {}
        """Clients attached to containers that have not started yet."""
        self._generation = -1
        self._changed = trio.Event()
        self._subscribers: set[trio.MemorySendChannel[StoredEvent]] = set()
        ports.store.listen(self._publish)
        self._refold()

    def _refold(self) -> None:
        store = self.ports.store
        self._generation = store.generation
        saved = store.load_snapshot()
        if saved is None:
            self.state = fold(store.read_for_fold())
        else:
            self.state = fold(store.read_for_fold(saved[0]), msgspec.json.decode(saved[1], type=EngineState))

    def save_snapshot(self) -> None:
        """Store the present fold, so that the next start needs only what comes after it."""
        self.ports.store.save_snapshot(self.state.position, msgspec.json.encode(self.state))

    # Appending.

    async def execute(self, command: Command, job: Job, secrets: dict[str, bytes] | None = None) -> Sequence[Event]:
        """Decide, append, and return the events once they are durable. Raises `Rejected`."""
        while True:
            if self.ports.store.generation != self._generation:
                self._refold()
            decision = decide(self.state, command)
            if isinstance(decision, Unsettled):
                await self.changed()
                continue
            if isinstance(decision, Rejection):
                raise Rejected(decision)
            await self.record(decision, job, secrets)
            return decision

    async def record(self, events: Sequence[Event], job: Job, secrets: dict[str, bytes] | None = None) -> None:
        """Append facts; returns when they are durable."""
        if events:
            await self._submit(events, job, secrets or {}).durable()

    def note(self, events: Sequence[Event], job: Job) -> None:
        """Append facts that nobody is told of by an answer: they become durable with the next commit."""
        self._submit(events, job, {}, deferred=True)

    def _submit(self, events: Sequence[Event], job: Job, secrets: dict[str, bytes], *, deferred: bool = False) -> Ticket:
        metadata = Metadata(self.ports.clock.now_ns(), job.id, job.actor)
        ticket = self.ports.store.submit(Batch(tuple(events), metadata, secrets), deferred=deferred)
        for stored in ticket.events:
            evolve(self.state, stored.event, stored.metadata.time_ns, stored.position)
        self._changed.set()
        self._changed = trio.Event()
        return ticket

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

    # Watching.

    async def changed(self) -> None:
        """Wait for the next event of any kind."""
        await self._changed.wait()

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

    async def run(self, job: Job) -> Any:
        """Run a job from acceptance to outcome, both of which are in the log. Raises what the handler raises."""
        self.note([JobAccepted(job.id, job.name, job.arguments, job.environment)], job)
        try:
            result = await self.jobs[job.name](self, job)
        except Rejected as error:
            self.note([JobFailed(job.id, type(error.rejection).__name__, error.rejection.message)], job)
            raise
        except StoreError:
            raise
        except Exception as error:
            self.note([JobFailed(job.id, type(error).__name__, str(error))], job)
            raise
        except BaseException:
            self.note([JobFailed(job.id, "Cancelled", "the client went away or the engine ended")], job)
            raise
        self.note([JobCompleted(job.id)], job)
        return result

"""`replay`: a job is executed again, on any system, against its recording and its events.

    log before the job ─► engine ─► the same handler ─► kernel calls   compared with the recording, answered from it
                                                    └─► events         compared with the log

The engine is a whole one, but everything around it is made of the record: no real adapter is constructed, nothing is written, and
time is what the log says (S57). Waits end at once. What others appended meanwhile is told where it came then.
"""

from __future__ import annotations

from typing import Any

import msgspec
import trio
import trio.testing

from docket.domain.engine import Engine, Job, Ports
from docket.domain.errors import PortError, Rejected
from docket.domain.jobs import JOBS, REQUESTS, exec_, start
from docket.domain.jobs.launching import confinement_of
from docket.domain.model.job.events import JobFailed
from docket.domain.ports import Attachment, EventStore
from docket.domain.recovery import recover
from docket.kernel.recording.format import Call, RecordingInvalid
from docket.kernel.replaying.divergence import ReplayDiverged
from docket.kernel.replaying.kernel import ReplayingKernel
from docket.kernel.replaying.log import RecordedLog
from docket.kernel.replaying.surroundings import (
    NoEndpoint,
    NoNursery,
    NoOutputs,
    RecordedClock,
    RecordedIds,
    RecordedImages,
    RecordedRootfs,
)

_FOREVER_SECONDS = 1e9
_KEEPS_CLIENTS = frozenset({"start", "restart"})


class Replay(msgspec.Struct, frozen=True):
    """What came of a replay. ``divergence`` is empty when everything was as recorded."""

    job: str
    name: str
    arguments: tuple[str, ...]
    calls: int
    operations: int
    events: int
    divergence: str = ""
    cut: bool = False
    """The job's own engine ended before the job did; up to there all was as recorded."""


def replay(store: EventStore, job: str) -> Replay | None:
    """Execute a recorded job again; None when the log has no recording of it. Raises `RecordingInvalid`.

    Blocks, and runs a trio loop of its own: call it outside of one, or in a worker thread.
    """
    recording = store.recording(job)
    if recording is None:
        return None
    performance = _Performance(store, recording, job)
    return trio.run(performance.run, clock=trio.testing.MockClock(autojump_threshold=0))


class _Attached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stdin: bool
    stdout: bool
    stderr: bool
    multiplexed: bool


class _ReplayEngine(Engine):
    """An engine that is told of others' events when a job waits for them."""

    performance: _Performance

    async def changed(self) -> None:
        if self.performance.advance():
            await trio.lowlevel.checkpoint()
        else:
            await super().changed()


class _Performance:
    """One replay while it lasts."""

    def __init__(self, store: EventStore, recording: bytes, job: str) -> None:
        self._kernel = ReplayingKernel(recording, answering=self._answering)
        self._header = self._kernel.header
        self._job = self._header.job
        if self._job.id != job:
            raise RecordingInvalid(f"recording of job {job}: it is another job's")
        watched = self._job.name == "watch" and self._job.arguments
        subject = f"container-{self._job.arguments[0]}" if watched else ""
        self._log = RecordedLog(store, job, subject, self._next_call, lambda: self._passing())
        self._complete = self._log.complete or any(call.name == "release" for call in self._kernel.calls if watched)
        self._scope = trio.CancelScope()

    def _next_call(self) -> Call | None:
        return self._kernel.next_call

    async def run(self) -> Replay:
        """Execute the job. Raises `RecordingInvalid`."""
        clock = RecordedClock()
        rootfs = RecordedRootfs(self._next_call, self._log)
        log: Any = self._log  # has what a job uses of a store, and no more
        nursery: Any = NoNursery()
        ids, images, outputs = RecordedIds(self._job.id), RecordedImages(self._log), NoOutputs()
        ports = Ports(log, self._kernel, clock, ids, outputs, rootfs, images, self._header.places, self._header.files)
        self._engine = clock.engine = _ReplayEngine(ports, nursery, JOBS)
        self._engine.performance = self
        self._scope.deadline = trio.current_time() + _FOREVER_SECONDS
        failure: Exception | None = None
        with self._scope:
            failure = await self._attempt()
        if self._scope.cancelled_caught and trio.current_time() >= self._scope.deadline:
            failure = ReplayDiverged("replay diverged: the job waits for something that the log does not tell")
        return self._judge(failure)

    async def _attempt(self) -> Exception | None:
        try:
            await self._perform()
        except (Rejected, PortError):
            return None  # an answer like any other, and compared already: the log has it as the job's failure
        except Exception as error:  # a log from elsewhere may drive the domain into anything
            return error
        return None

    def _judge(self, failure: Exception | None) -> Replay:
        """What the attempt proves. Raises `RecordingInvalid`."""
        try:
            if failure is not None:
                raise _first(failure)
            self._kernel.check_finished()
            self._log.check_finished()
        except ReplayDiverged as diverged:
            behind = diverged.behind and self._kernel.next_call is None and self._log.next_event is None
            if behind and not self._complete:
                return self._result("", cut=True)
            return self._result(str(diverged))
        except RecordingInvalid:
            raise
        except Exception as error:
            return self._result(f"replay diverged: the job failed with {type(error).__name__}: {error}")
        return self._result("")

    async def _perform(self) -> None:
        attachments = tuple(self._attachments())
        if self._job.name == "watch":
            await self._watch()
        elif self._job.name == "recover":
            await recover(self._engine)
        elif self._job.name in JOBS:
            job = Job(self._job.name, self._job.arguments, self._log.actor, self._job.id, self._request())
            if job.name in _KEEPS_CLIENTS:
                launch = next((call for call in self._kernel.calls if call.name == "launch"), None)
                self._engine.waiting = {launch.key: list(attachments)} if launch is not None else {}
            else:
                job.attachments = attachments
            await self._engine.run(job)
        else:
            raise RecordingInvalid(f"recording of job {self._job.id}: there is no job named {self._job.name!r}")

    async def _watch(self) -> None:
        key = self._job.arguments[0] if self._job.arguments else ""
        engine, state = self._engine, self._engine.state
        if key in state.containers:
            container = state.containers[key]
            plan = start.plan_of(engine, container, confinement_of(engine, container.spec), ())
            await start.watch(engine, key, container.run, plan)
        elif key in state.execs:
            await exec_.watch(engine, key, state.execs[key].container)
        else:
            raise RecordingInvalid(f"recording of job {self._job.id}: the log knows nothing named {key!r}")

    def _request(self) -> Any:
        kind = REQUESTS.get(self._job.name)
        if kind is None:
            return None
        try:
            return msgspec.convert(self._job.request, type=kind)
        except msgspec.ValidationError as error:
            raise RecordingInvalid(f"recording line 1: request: {error}") from None

    def _attachments(self) -> list[Attachment]:
        told: list[Any] = []
        for call in self._kernel.calls:
            told += call.arguments.get("attachments", []) if call.name == "launch" else []
            told += [call.arguments] if call.name == "attach" else []
        try:
            settings = msgspec.convert(told, list[_Attached])
        except msgspec.ValidationError as error:
            raise RecordingInvalid(f"recording: attachments: {error}") from None
        return [Attachment(NoEndpoint(), each.stdin, each.stdout, each.stderr, each.multiplexed) for each in settings]

    # Meanwhile.

    def _answering(self, call: Call) -> None:
        if call.cancelled:
            self._scope.cancel()
            return
        if call.name in {"launch", "find"} and call.error is None:
            self._bind(call)
        self._passing()

    def _bind(self, call: Call) -> None:
        """The process of this answer is the one that the job's next event names."""
        started = self._log.started(call.key)
        identity = call.result.get("identity", call.result) if isinstance(call.result, dict) else None
        if started is not None and isinstance(identity, dict) and isinstance(identity.get("pid"), str):
            self._kernel.bind_process(identity["pid"], started.pid, started.start_time)

    def _passing(self) -> None:
        """The job goes on: it knows what the engine had folded when it did the next thing."""
        self.advance()
        following = self._log.next_event
        cancelled = following is not None and isinstance(following.event, JobFailed) and following.event.kind == "Cancelled"
        if cancelled and self._kernel.next_call is None:
            self._scope.cancel()

    def advance(self) -> bool:
        """Tell the engine what others appended before the job did the next thing; False when that is nothing."""
        others = self._log.others(self._engine.state.position)
        if others:
            self._engine.observe(others)
        return bool(others)

    def _result(self, divergence: str, *, cut: bool = False) -> Replay:
        job, made = self._job, self._kernel.calls[: len(self._kernel.calls) - self._kernel.remaining]
        operations = sum(len(call.operations) for call in made)
        return Replay(job.id, job.name, job.arguments, len(made), operations, self._log.taken, divergence, cut)


def _first(error: Exception) -> Exception:
    """The error that was raised first: a job that fails appends its failure, which is then a divergence too."""
    found, at = error, error.__context__
    while at is not None:
        if isinstance(at, ReplayDiverged | RecordingInvalid):
            found = at
        at = at.__context__
    return found

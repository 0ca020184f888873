"""`RecordingKernel`: wraps any kernel and keeps each call, operation, result, error number and duration with its job.

The sink gets the job's whole recording after each call, so that what it stores is complete whenever the engine ends. A call that
the engine does not live to see the end of is not in it. Calls of different jobs go to different recordings; those without a job
are not recorded. The memory is bounded: the jobs used last are kept, and a recording that grows too long ends there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any, TypeVar

import msgspec
import trio

from docket.domain.errors import PortError
from docket.domain.plan.operations import Operation
from docket.domain.ports import (
    Attachment,
    Exit,
    Found,
    HostFacts,
    Kernel,
    Launch,
    Launched,
    LaunchFailed,
    ProcessIdentity,
    ProcessRow,
    Statistics,
)
from docket.kernel.recording import calls
from docket.kernel.recording.format import Call, CallError, OperationLine, encode_call, encode_header
from docket.kernel.recording.symbols import Symbols

T = TypeVar("T")

KEPT_JOBS = 64
KEPT_BYTES = 4 << 20


class _Recording:
    """What is kept of one job."""

    def __init__(self, host: HostFacts) -> None:
        self.symbols = Symbols()
        self.data = bytearray(encode_header(msgspec.structs.replace(host, boot_id=self.symbols.of("boot", host.boot_id))))
        self.full = False
        """A call did not fit: none is kept after it, since a recording has no gaps."""


class _Recorded:
    """A call while it lasts; what is known later is filled in by the one who calls."""

    def __init__(self, symbols: Symbols, arguments: dict[str, Any]) -> None:
        self.symbols = symbols
        self.arguments = arguments
        self.operations: tuple[OperationLine, ...] = ()
        self.result: Any = None
        self.error: CallError | None = None
        self.cancelled = False


class RecordingKernel:
    """Implements `docket.domain.ports.Kernel` around another one."""

    def __init__(self, inner: Kernel, sink: Callable[[str, bytes], None], job: Callable[[], str]) -> None:
        """``sink`` takes a job and its recording so far; ``job`` names the job of the running task, or is empty."""
        self._inner = inner
        self._sink = sink
        self._job = job
        self._recordings: OrderedDict[str, _Recording] = OrderedDict()

    def host(self) -> HostFacts:
        return self._inner.host()

    async def exists(self, path: str) -> bool:
        return await self._plain("exists", "", {"path": path}, self._inner.exists(path))

    async def launch(self, launch: Launch) -> Launched:
        with self._recorded("launch", launch.key, calls.launch_arguments(launch)) as call:
            call.operations = calls.launch_operations(launch, call.symbols)
            try:
                launched = await self._inner.launch(launch)
            except LaunchFailed as failure:
                call.operations = calls.with_results(launch, call.operations, failure.results, failed=True)
                raise
            call.operations = calls.with_results(launch, call.operations, launched.results, failed=False)
            call.result = call.symbols.identity(launched.identity)
            return launched

    async def find(self, key: str, directory: str, exit_file: str) -> Found:
        arguments = {"directory": directory, "exit_file": exit_file}
        return await self._plain("find", key, arguments, self._inner.find(key, directory, exit_file))

    async def exited(self, key: str) -> Exit:
        return await self._plain("exited", key, {}, self._inner.exited(key))

    async def release(self, key: str, directory: str, exit_file: str, operations: Sequence[Operation]) -> None:
        with self._recorded("release", key, {"directory": directory, "exit_file": exit_file}) as call:
            call.operations = tuple(OperationLine(call.symbols.symbolised(operation)) for operation in operations)
            await self._inner.release(key, directory, exit_file, operations)

    async def signal(self, key: str, identity: ProcessIdentity, signal: int) -> bool:
        with self._recorded("signal", key, {}) as call:
            call.arguments = {"identity": call.symbols.identity(identity), "signal": signal}
            call.result = sent = await self._inner.signal(key, identity, signal)
            return sent

    async def freeze(self, cgroup: str) -> None:
        await self._plain("freeze", "", {"cgroup": cgroup}, self._inner.freeze(cgroup))

    async def thaw(self, cgroup: str) -> None:
        await self._plain("thaw", "", {"cgroup": cgroup}, self._inner.thaw(cgroup))

    async def attach(self, key: str, attachment: Attachment) -> None:
        await self._plain("attach", key, calls.attachment_arguments(attachment), self._inner.attach(key, attachment))

    async def resize(self, key: str, rows: int, columns: int) -> None:
        await self._plain("resize", key, {"rows": rows, "columns": columns}, self._inner.resize(key, rows, columns))

    async def processes(self, cgroup: str) -> tuple[ProcessRow, ...]:
        return await self._plain("processes", "", {"cgroup": cgroup}, self._inner.processes(cgroup))

    async def statistics(self, cgroup: str, pid: int) -> Statistics:
        return await self._plain("statistics", "", {"cgroup": cgroup}, self._inner.statistics(cgroup, pid))

    async def _plain(self, name: str, key: str, arguments: dict[str, Any], call: Awaitable[T]) -> T:
        with self._recorded(name, key, arguments) as recorded:
            value = await call
            recorded.result = calls.result_form(value, recorded.symbols)
            return value

    @contextmanager
    def _recorded(self, name: str, key: str, arguments: dict[str, Any]) -> Iterator[_Recorded]:
        """Keep one call when it returns, fails or is cancelled; anything else is the end of the engine."""
        job = self._job()
        recording = self._recording(job)
        call = _Recorded(recording.symbols, arguments)
        started = perf_counter_ns()
        try:
            yield call
        except PortError as failure:
            call.error = calls.error_form(failure, secret=calls.hidden_arguments(call.operations))
            self._keep(job, recording, name, key, call, started)
            raise
        except trio.Cancelled:
            call.cancelled = True
            self._keep(job, recording, name, key, call, started)
            raise
        self._keep(job, recording, name, key, call, started)

    def _recording(self, job: str) -> _Recording:
        recording = self._recordings.get(job) or _Recording(self._inner.host())
        if job:
            self._recordings[job] = recording
            self._recordings.move_to_end(job)
            while len(self._recordings) > KEPT_JOBS:
                self._recordings.popitem(last=False)
        return recording

    def _keep(self, job: str, recording: _Recording, name: str, key: str, call: _Recorded, started: int) -> None:
        took = perf_counter_ns() - started
        whole = Call(name, key, call.arguments, call.operations, call.result, call.error, call.cancelled, took)
        lines = encode_call(whole)
        if job and not recording.full and len(recording.data) + len(lines) <= KEPT_BYTES:
            recording.data += lines
            self._sink(job, bytes(recording.data))
        else:
            recording.full = True

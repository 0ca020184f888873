"""`RecordingKernel`: wraps any kernel and keeps each call, operation, result, error number and duration with its job.

The sink gets the lines of each call when it ends, with the first ones the recording's header, so that what it stores is complete
whenever the engine ends; only the wait for an end goes with the release that follows it. A call that the engine does not live to
see the end of is not in it. Calls of different jobs go to
different recordings; those without a job are not recorded. A recording that grows too long ends there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any, TypeVar

import msgspec
import trio

from docket.domain.errors import PortError, StoreError
from docket.domain.jobs import REQUESTS
from docket.domain.plan.operations import Operation, OperationResult
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import (
    Attachment,
    Exit,
    Found,
    HostDevice,
    HostFacts,
    Kernel,
    Launch,
    Launched,
    LaunchFailed,
    ProcessIdentity,
    ProcessRow,
    Remains,
    Statistics,
)
from docket.domain.running import RUNNING, Running
from docket.kernel.recording import calls
from docket.kernel.recording.format import (
    VERSION,
    Call,
    CallError,
    Header,
    OperationLine,
    RecordedJob,
    encode_call,
    encode_header,
)
from docket.kernel.recording.symbols import Symbols

T = TypeVar("T")

KEPT_BYTES = 4 << 20


class _Recording:
    """What is known of one job's recording between its calls."""

    def __init__(self, header: bytes, symbols: Symbols) -> None:
        self.symbols = symbols
        self.pending = header
        """What the sink has not got yet: it gets no header without a call."""
        self.size = 0
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
        self.position = 0
        self.secret = False
        """Not even the name of the command may be kept."""


class RecordingKernel:
    """Implements `docket.domain.ports.Kernel` around another one."""

    def __init__(
        self, inner: Kernel, sink: Callable[[str, bytes], None], places: Places, files: HostFiles | None = None
    ) -> None:
        """``sink`` takes a job's id and the next lines of its recording; ``places`` and ``files`` are what plans are made with."""
        self._inner = inner
        self._sink = sink
        self._places = places
        self._files = files or HostFiles()

    def host(self) -> HostFacts:
        return self._inner.host()

    async def exists(self, path: str) -> bool:
        # Asked by creates, which cannot be replayed from a recording: their requests hold secrets.
        return await self._inner.exists(path)

    async def devices(self, path: str) -> tuple[HostDevice, ...]:
        return await self._plain("devices", "", {"path": path}, self._inner.devices(path))

    async def launch(self, launch: Launch) -> Launched:
        with self._recorded("launch", launch.key, calls.launch_arguments(launch)) as call:
            call.secret = calls.hides_arguments(launch.plan)
            results: tuple[OperationResult, ...] = ()
            failed = True
            try:
                launched = await self._inner.launch(launch)
                results, failed = launched.results, False
            except LaunchFailed as failure:
                results = failure.results
                raise
            finally:
                call.operations = calls.performed_operations(launch, call.symbols, results, failed=failed)
            call.result = call.symbols.identity(launched.identity)
            return launched

    async def find(self, key: str, directory: str, exit_file: str) -> Found:
        arguments = {"directory": directory, "exit_file": exit_file}
        return await self._plain("find", key, arguments, self._inner.find(key, directory, exit_file))

    async def remains(self, directories: Sequence[str], paths: Sequence[str]) -> Remains:
        arguments = {"directories": list(directories), "paths": list(paths)}
        return await self._plain("remains", "", arguments, self._inner.remains(directories, paths))

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

    async def configure(self, key: str, operations: Sequence[Operation]) -> None:
        with self._recorded("configure", key, {}) as call:
            call.operations = tuple(OperationLine(call.symbols.symbolised(operation)) for operation in operations)
            await self._inner.configure(key, operations)

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
        running = RUNNING.get()
        recording = self._recording(running)
        call = _Recorded(recording.symbols, arguments)
        call.position = running.position() if running is not None else 0
        started = perf_counter_ns()
        try:
            yield call
        except PortError as failure:
            call.error = calls.error_form(failure, secret=call.secret)
            self._keep(running, recording, name, key, call, started)
            raise
        except trio.Cancelled:
            call.cancelled = True
            self._keep(running, recording, name, key, call, started)
            raise
        self._keep(running, recording, name, key, call, started)

    def _recording(self, running: Running | None) -> _Recording:
        if running is None:
            return _Recording(b"", Symbols())
        if running.kept is None:
            running.kept = self._begin(running)
        recording: _Recording = running.kept
        return recording

    def _begin(self, running: Running) -> _Recording:
        host, symbols = self._inner.host(), Symbols()
        request = msgspec.to_builtins(running.request) if running.name in REQUESTS else None
        header = Header(
            VERSION,
            msgspec.structs.replace(host, boot_id=symbols.of("boot", host.boot_id)),
            RecordedJob(running.id, running.name, running.arguments, request),
            host.boot_id,
            self._places,
            self._files,
        )
        return _Recording(encode_header(header), symbols)

    def _keep(self, running: Running | None, recording: _Recording, name: str, key: str, call: _Recorded, started: int) -> None:
        if running is None or recording.full:
            return
        took = perf_counter_ns() - started
        whole = Call(
            name, key, call.arguments, call.operations, call.result, call.error, call.cancelled, took, position=call.position
        )
        lines = recording.pending + encode_call(whole)
        recording.size += len(lines) - len(recording.pending)
        if recording.size > KEPT_BYTES:
            recording.full = True
            return
        if name == "exited" and call.error is None and not call.cancelled:
            # The release of what ended follows at once, and both together cost the log one row.
            recording.pending = lines
            return
        recording.pending = b""
        try:
            self._sink(running.id, lines)
        except StoreError:
            # The kernel has done its part, and the job goes on: its next append says what is wrong with the log.
            recording.full = True

"""`ReplayingKernel`: answers the kernel port from a recording, strictly in order, on any system.

No call has an effect. A call that the recording does not have next is a divergence, and shows both. Calls that wait (`exited`)
wait for their place in the recording; what was cancelled then waits to be cancelled now. A recording is hostile input (S57): it is
decoded strictly and within limits before anything is answered, and the paths in it are compared, never used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio

from docket.domain.errors import KernelError, Unavailable
from docket.domain.plan.operations import Operation
from docket.domain.ports import (
    Attachment,
    Exit,
    Found,
    HostDevice,
    HostFacts,
    Launch,
    Launched,
    LaunchFailed,
    ProcessIdentity,
    ProcessRow,
    Remains,
    Statistics,
)
from docket.kernel.recording import calls
from docket.kernel.recording.format import Call, OperationLine, RecordingInvalid, decode
from docket.kernel.recording.symbols import Symbols
from docket.kernel.replaying.divergence import ReplayDiverged, explain_divergence
from docket.kernel.replaying.values import Values


class ReplayingKernel:
    """Implements `docket.domain.ports.Kernel` from a recording."""

    def __init__(self, recording: bytes, *, boot_id: str = "", answering: Callable[[Call], None] = lambda call: None) -> None:
        """``boot_id`` is the value that the recorded boot has in the log, where it is not the header's.

        ``answering`` is told of each call that was the recorded one, before it is answered. Raises `RecordingInvalid`.
        """
        self.header, self._calls = decode(recording)
        header = self.header
        self._answering = answering
        self._symbols = Symbols()
        boot = boot_id or header.boot_id or header.host.boot_id
        self._symbols.bind("boot", boot, header.host.boot_id)
        self._host = msgspec.structs.replace(header.host, boot_id=boot)
        self._values = Values(self._symbols)
        self._position = 0
        self._moved = trio.Event()
        self._claimed: set[int] = set()

    @property
    def next_call(self) -> Call | None:
        """The recorded call that must be made next; None behind the last."""
        return self._calls[self._position] if self._position < len(self._calls) else None

    @property
    def calls(self) -> Sequence[Call]:
        """All recorded calls."""
        return self._calls

    def bind_process(self, symbol: str, pid: int, start_time: int) -> None:
        """Let a process that the recording has as ``$pid1`` be the one that the log knows it as."""
        if self._symbols.value(symbol) is None:
            self._symbols.bind("pid", (pid, start_time), symbol)

    @property
    def remaining(self) -> int:
        """How many recorded calls have not been made."""
        return len(self._calls) - self._position

    def check_finished(self) -> None:
        """Raises `ReplayDiverged` when the recording has more calls than were made."""
        if self.remaining:
            raise ReplayDiverged(explain_divergence(self._calls, self._position, None))

    def host(self) -> HostFacts:
        return self._host

    async def exists(self, path: str) -> bool:
        raise Unavailable(f"whether the host has {path} is not recorded")

    async def devices(self, path: str) -> tuple[HostDevice, ...]:
        recorded = await self._answer("devices", "", {"path": path})
        self._raise(recorded)
        return self._values.plain(recorded.result, tuple[HostDevice, ...], recorded.line)

    async def launch(self, launch: Launch) -> Launched:
        operations = calls.launch_operations(launch, self._symbols)
        recorded = await self._answer("launch", launch.key, calls.launch_arguments(launch), operations)
        for attachment in launch.attachments:
            attachment.endpoint.close()
        results = calls.recorded_results(recorded, launch.plan)
        if recorded.error is not None and recorded.error.kind == "launch":
            raise LaunchFailed(_kernel_error(recorded), results)
        self._raise(recorded)
        identity = self._values.identity(recorded.result, recorded.line)
        if identity is None:
            raise RecordingInvalid(f"recording line {recorded.line}: a launch without a process")
        return Launched(identity, results)

    async def find(self, key: str, directory: str, exit_file: str) -> Found:
        recorded = await self._answer("find", key, {"directory": directory, "exit_file": exit_file})
        self._raise(recorded)
        return self._values.found(recorded.result, recorded.line)

    async def remains(self, directories: Sequence[str], paths: Sequence[str]) -> Remains:
        recorded = await self._answer("remains", "", {"directories": list(directories), "paths": list(paths)})
        self._raise(recorded)
        return self._values.plain(recorded.result, Remains, recorded.line)

    async def exited(self, key: str) -> Exit:
        index = self._claim(key)
        try:
            while self._position < index:
                await self._moved.wait()
        finally:
            self._claimed.discard(index)
        recorded = await self._answer("exited", key, {})
        self._raise(recorded)
        return self._values.plain(recorded.result, Exit, recorded.line)

    def _claim(self, key: str) -> int:
        """The place in the recording where this wait for an end was answered."""
        for index in range(self._position, len(self._calls)):
            call = self._calls[index]
            if (call.name, call.key) == ("exited", key) and index not in self._claimed:
                self._claimed.add(index)
                return index
        asked = Call("exited", key, {})
        raise ReplayDiverged(explain_divergence(self._calls, self._position, asked), behind=not self.remaining)

    async def release(self, key: str, directory: str, exit_file: str, operations: Sequence[Operation]) -> None:
        lines = tuple(OperationLine(self._symbols.symbolised(operation)) for operation in operations)
        recorded = await self._answer("release", key, {"directory": directory, "exit_file": exit_file}, lines)
        self._raise(recorded)

    async def signal(self, key: str, identity: ProcessIdentity, signal: int) -> bool:
        arguments = {"identity": self._symbols.identity(identity), "signal": signal}
        recorded = await self._answer("signal", key, arguments)
        self._raise(recorded)
        return self._values.plain(recorded.result, bool, recorded.line)

    async def configure(self, key: str, operations: Sequence[Operation]) -> None:
        lines = tuple(OperationLine(self._symbols.symbolised(operation)) for operation in operations)
        self._raise(await self._answer("configure", key, {}, lines))

    async def freeze(self, cgroup: str) -> None:
        self._raise(await self._answer("freeze", "", {"cgroup": cgroup}))

    async def thaw(self, cgroup: str) -> None:
        self._raise(await self._answer("thaw", "", {"cgroup": cgroup}))

    async def attach(self, key: str, attachment: Attachment) -> None:
        recorded = await self._answer("attach", key, calls.attachment_arguments(attachment))
        attachment.endpoint.close()
        self._raise(recorded)

    async def resize(self, key: str, rows: int, columns: int) -> None:
        self._raise(await self._answer("resize", key, {"rows": rows, "columns": columns}))

    async def processes(self, cgroup: str) -> tuple[ProcessRow, ...]:
        recorded = await self._answer("processes", "", {"cgroup": cgroup})
        self._raise(recorded)
        return self._values.rows(recorded.result, recorded.line)

    async def statistics(self, cgroup: str, pid: int) -> Statistics:
        recorded = await self._answer("statistics", "", {"cgroup": cgroup})
        self._raise(recorded)
        return self._values.plain(recorded.result, Statistics, recorded.line)

    async def _answer(self, name: str, key: str, arguments: dict[str, Any], operations: tuple[OperationLine, ...] = ()) -> Call:
        """The next recorded call, which must be this one. Raises `ReplayDiverged`."""
        await trio.lowlevel.checkpoint()
        asked = Call(name, key, arguments, operations)
        if self._position == len(self._calls) or not _same(self._calls[self._position], asked):
            raise ReplayDiverged(explain_divergence(self._calls, self._position, asked), behind=not self.remaining)
        recorded = self._calls[self._position]
        try:
            if recorded.cancelled:
                self._answering(recorded)
                await trio.sleep_forever()
        finally:
            self._position += 1
            self._moved.set()
            self._moved = trio.Event()
        self._answering(recorded)
        return recorded

    @staticmethod
    def _raise(recorded: Call) -> None:
        if recorded.error is None:
            return
        if recorded.error.kind == "unavailable":
            raise Unavailable(recorded.error.reason)
        raise _kernel_error(recorded)


def _same(recorded: Call, asked: Call) -> bool:
    """Whether two calls ask for the same."""
    forms = [line.operation for line in recorded.operations if line.operation]
    return (
        (recorded.name, recorded.key) == (asked.name, asked.key)
        and recorded.arguments == asked.arguments
        and msgspec.json.encode(forms) == msgspec.json.encode([line.operation for line in asked.operations])
    )


def _kernel_error(recorded: Call) -> KernelError:
    error = recorded.error
    assert error is not None
    return KernelError(error.operation, error.syscall, error.errno, error.path, error.reason)

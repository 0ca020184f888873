"""`LinuxKernel`: the kernel port on the real kernel, from the daemon's side.

It starts the launcher, talks to a shim about each process (`docket.kernel.shim.keeper` has the messages), and does the little
that needs no shim itself: signals by pidfd, the freezer, undos after the end. Nothing here is asked of a process whose identity
(pid and start time in this boot) was not checked (S15).
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from errno import ESRCH

import msgspec
import trio

from docket.domain.errors import KernelError, Unavailable
from docket.domain.plan.operations import Operation, OperationResult
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
from docket.kernel.linux import facts, sampling, shim_directory
from docket.kernel.linux.context import Context
from docket.kernel.linux.host import start_time_of, write_control
from docket.kernel.linux.interpreter import perform
from docket.kernel.linux.launching import Launcher
from docket.kernel.linux.shim_connection import ShimConnection
from docket.kernel.linux.syscalls import SyscallError

_FROZEN_SECONDS = 10
_FIND_SECONDS = 10


class _ExitFile(msgspec.Struct, frozen=True):
    """What a shim leaves behind when its process has ended."""

    code: int
    oom: bool
    time_ns: int


class LinuxKernel:
    """Implements `docket.domain.ports.Kernel`. Make it with `LinuxKernel.open`."""

    def __init__(self, nursery: trio.Nursery, launcher: Launcher, host: HostFacts) -> None:
        self._nursery = nursery
        self._launcher = launcher
        self._host = host
        self._shims: dict[str, ShimConnection] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, launcher: Launcher | None = None) -> AsyncIterator[LinuxKernel]:
        """A kernel whose launcher lives as long as the context. Give one that was started before the first thread."""
        launcher = launcher or Launcher()
        try:
            async with trio.open_nursery() as nursery:
                yield cls(nursery, launcher, facts.host_facts())
                nursery.cancel_scope.cancel()
        finally:
            launcher.close()

    def host(self) -> HostFacts:
        return self._host

    async def exists(self, path: str) -> bool:
        return os.path.exists(path)

    async def devices(self, path: str) -> tuple[HostDevice, ...]:
        return facts.devices(path)

    # Launching.

    async def launch(self, launch: Launch) -> Launched:
        keeping = self._shim(launch.beside) if launch.beside else None
        with _calls("start a shim", launch.directory):
            inode = shim_directory.make(launch.directory)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            shim = ShimConnection(ours)
            with theirs:
                for attachment in launch.attachments:
                    await shim.attach(attachment)
                if keeping is None:
                    self._launcher.launch(theirs, _request(launch, inode))
                else:
                    await _launch_beside(keeping, theirs, launch, inode)
        self._shims[launch.key] = shim
        self._nursery.start_soon(shim.listen)
        await shim.answered.wait()
        if "launched" not in shim.answer:
            self._forget(launch.key)
            with suppress(OSError):
                shim_directory.remove(launch.directory)
            raise _failure(launch, shim.answer.get("failed"), shim.broken)
        identity = ProcessIdentity(shim.answer["pid"], shim.answer["start_time"], self._host.boot_id)
        return Launched(identity, _results(launch, shim.answer["launched"]))

    async def find(self, key: str, directory: str, exit_file: str) -> Found:
        with _calls("find a shim", directory):
            connection = shim_directory.connect(directory)
        if connection is None:
            return Found(exit=_read_exit(exit_file))
        shim = ShimConnection(connection)
        self._shims[key] = shim
        self._nursery.start_soon(shim.listen)
        with trio.move_on_after(_FIND_SECONDS) as patience:
            await shim.answered.wait()
        if patience.cancelled_caught:
            with _calls("end a shim that does not answer", directory):
                shim_directory.kill_peer(connection)
        if "found" not in shim.answer:
            self._forget(key)
            return Found(exit=_read_exit(exit_file))
        if shim.answer["found"] is not None:
            shim.hear({"exited": shim.answer["found"]})
            return Found(exit=shim.exit)
        return Found(ProcessIdentity(shim.answer["pid"], shim.answer["start_time"], self._host.boot_id))

    async def remains(self, directories: Sequence[str], paths: Sequence[str]) -> Remains:
        with _calls("list what is left", ""):
            names = {name for path in directories for name in _directories_in(path)}
        return Remains(tuple(sorted(names)), tuple(sorted(path for path in paths if os.path.lexists(path))))

    # The end.

    async def exited(self, key: str) -> Exit:
        shim = self._shim(key)
        await shim.ended.wait()
        if shim.exit is None:
            raise Unavailable(f"the shim of {key} ended before its process did: its exit status is not known{shim.broken}")
        return shim.exit

    async def release(self, key: str, directory: str, exit_file: str, operations: Sequence[Operation]) -> None:
        shim = self._shims.get(key)
        if shim is not None:
            with suppress(OSError, trio.ClosedResourceError):
                await shim.send({"release": True})
            self._forget(key)
        failures = [failure for operation in operations if (failure := _perform(operation)) is not None]
        with _calls("remove what a shim kept", exit_file):
            for path in (exit_file, f"{exit_file}.new"):
                with suppress(FileNotFoundError):
                    os.unlink(path)
            shim_directory.remove(directory)
        if failures:
            raise failures[0]

    def _forget(self, key: str) -> None:
        shim = self._shims.pop(key, None)
        if shim is not None:
            shim.close()

    # While it runs.

    async def signal(self, key: str, identity: ProcessIdentity, signal: int) -> bool:
        if identity.boot_id != self._host.boot_id:
            return False
        try:
            pidfd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return False
        except OSError as error:
            raise _os_error(f"send signal {signal}", error, str(identity.pid)) from error
        try:
            if start_time_of(identity.pid) != identity.start_time:
                return False
            _send_signal(pidfd, signal)
        except SyscallError as error:
            if error.errno == ESRCH:
                return False
            raise _kernel_error(f"send signal {signal}", error) from error
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True

    async def configure(self, key: str, operations: Sequence[Operation]) -> None:
        for operation in operations:
            failure = _perform(operation)
            if failure is not None:
                raise failure

    async def freeze(self, cgroup: str) -> None:
        await _set_frozen(cgroup, True)

    async def thaw(self, cgroup: str) -> None:
        await _set_frozen(cgroup, False)

    async def attach(self, key: str, attachment: Attachment) -> None:
        await self._shim(key).attach(attachment)

    async def resize(self, key: str, rows: int, columns: int) -> None:
        try:
            await self._shim(key).send({"resize": [rows, columns]})
        except (OSError, trio.ClosedResourceError) as error:
            raise Unavailable("the process has ended") from error

    async def processes(self, cgroup: str) -> tuple[ProcessRow, ...]:
        return sampling.processes(cgroup)

    async def statistics(self, cgroup: str, pid: int) -> Statistics:
        return sampling.statistics(cgroup, pid)

    def _shim(self, key: str) -> ShimConnection:
        try:
            return self._shims[key]
        except KeyError:
            raise Unavailable(f"no shim of {key} is known to this engine") from None


async def _launch_beside(shim: ShimConnection, control: socket.socket, launch: Launch, inode: int) -> None:
    try:
        await shim.launch(control, _request(launch, inode))
    except (OSError, trio.ClosedResourceError) as error:
        with suppress(OSError):
            shim_directory.remove(launch.directory)
        raise Unavailable(f"the process beside which {launch.key} was to start has ended") from error


def _request(launch: Launch, inode: int) -> bytes:
    undos = [operation.undo() for operation in launch.plan.prepare]
    return msgspec.json.encode(
        {
            "plan": launch.plan,
            "undo": undos,
            "directory": launch.directory,
            "inode": inode,
            "exit_file": launch.exit_file,
            "environment": launch.environment,
            "arguments": launch.arguments,
            "terminal": launch.terminal,
            "stdin": launch.stdin,
            "stdin_once": launch.stdin_once,
            "log": launch.log,
            "run": launch.run,
            "cgroup": launch.cgroup,
            "attachments": len(launch.attachments),
        }
    )


def _results(launch: Launch, lines: list[str]) -> tuple[OperationResult, ...]:
    operations = launch.plan.operations()
    results = []
    for line in lines:
        index, errno, duration, syscall, path = line.split("\t")
        what = operations[int(index)].describe() if int(index) >= 0 else "undo"
        results.append(OperationResult(what, int(errno), int(duration), syscall, path))
    return tuple(results)


def _failure(launch: Launch, lines: list[str] | None, broken: str) -> Exception:
    if lines is None:
        return Unavailable(f"the shim ended before it had started the process{broken}")
    results = _results(launch, lines)
    failed = next(result for result in results if result.errno)
    error = KernelError(failed.operation, failed.syscall, failed.errno, failed.path, os.strerror(failed.errno))
    return LaunchFailed(error, results)


def _directories_in(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _read_exit(path: str) -> Exit | None:
    try:
        with open(path, "rb") as file:
            told = msgspec.json.decode(file.read(4096), type=_ExitFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return Exit(told.code, told.oom, told.time_ns)


def _perform(operation: Operation) -> KernelError | None:
    try:
        perform(Context([], []), msgspec.to_builtins(operation))
    except SyscallError as error:
        return _kernel_error(operation.describe(), error)
    return None


def _kernel_error(operation: str, error: SyscallError) -> KernelError:
    number = error.errno or 0
    return KernelError(operation, error.syscall, number, error.path, os.strerror(number))


def _os_error(operation: str, error: OSError, path: str) -> KernelError:
    return KernelError(operation, "", error.errno or 0, str(error.filename or path), error.strerror or str(error))


@contextmanager
def _calls(operation: str, path: str) -> Iterator[None]:
    """System calls outside a plan: their errors leave as `KernelError`."""
    try:
        yield
    except OSError as error:
        raise _os_error(operation, error, path) from error


def _send_signal(pidfd: int, number: int) -> None:
    import signal

    signal.pidfd_send_signal(pidfd, number)


async def _set_frozen(cgroup: str, frozen: bool) -> None:
    """Write cgroup.freeze and wait until cgroup.events says so (cgroup-v2, "cgroup.freeze")."""
    try:
        write_control(f"{cgroup}/cgroup.freeze", "1" if frozen else "0")
        with trio.move_on_after(_FROZEN_SECONDS):
            while f"frozen {int(frozen)}" not in sampling.read_text(f"{cgroup}/cgroup.events"):
                await trio.sleep(0.001)
            return
    except SyscallError as error:
        raise _kernel_error("freeze" if frozen else "thaw", error) from error
    raise Unavailable(f"the kernel did not {'freeze' if frozen else 'thaw'} {cgroup} within {_FROZEN_SECONDS} s")

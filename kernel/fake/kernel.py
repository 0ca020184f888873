"""`FakeKernel`: the kernel port on a model of Linux, with state, real error numbers, faults and one ordered trace.

The machine (`docket.kernel.fake.model`) and the shims outlive an engine that was killed: after a `SimulatedCrash` the same kernel
object is given to a new engine, which knows no process until it asks `find`. A kernel belongs to one run of trio.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from docket.domain.errors import KernelError, Unavailable
from docket.domain.plan.operations import Operation, OperationResult
from docket.domain.ports import (
    Attachment,
    Clock,
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
from docket.kernel.fake.cgroups import CONTROLLERS, Cgroups
from docket.kernel.fake.faults import Fault, Faults, SimulatedCrash, Step
from docket.kernel.fake.filesystem import Directory, Inode, Node, directory_at, read, seed
from docket.kernel.fake.interpreter import SYSCALLS, Interpreter
from docket.kernel.fake.linux_errno import ESRCH, CallFailed, strerror
from docket.kernel.fake.model import Model, make_layer
from docket.kernel.fake.ports import FakeClock, FakeOutputLogs
from docket.kernel.fake.processes import ALL_CAPABILITIES, SIGWINCH
from docket.kernel.fake.programs import Program
from docket.kernel.fake.shims import Shim, Shims
from docket.kernel.fake.task import Task

_MEMORY_PER_PROCESS = 1 << 20


class FakeKernel:
    """Implements `docket.domain.ports.Kernel` in memory."""

    def __init__(
        self,
        *,
        faults: Iterable[Fault] = (),
        clock: Clock | None = None,
        logs: FakeOutputLogs | None = None,
        controllers: tuple[str, ...] = CONTROLLERS,
        programs: Mapping[str, Program] | None = None,
        hostname: str = "host",
        apparmor: tuple[str, ...] = (),
    ) -> None:
        self.clock = clock or FakeClock()
        self.logs = logs or FakeOutputLogs()
        self.model = Model(self.clock, hostname, Cgroups(controllers=controllers), programs or {})
        self.model.apparmor = apparmor
        self.faults = Faults(faults)
        self._interpreter = Interpreter(self.model)
        self._shims = Shims(self.model, self.logs)
        self.model.observers.append(self._shims)
        self._boots = 1

    # What tests ask and arrange.

    @property
    def trace(self) -> list[Step]:
        """Everything that was done, in order."""
        return self.faults.trace

    @property
    def host_files(self) -> Directory:
        """The root of the host's filesystem."""
        return self.model.files

    @property
    def boot_id(self) -> str:
        """Changes with each `reboot`."""
        return f"00000000-0000-4000-8000-{self._boots:012d}"

    def seed_host(self, files: Mapping[str, bytes | Inode]) -> None:
        """Put files on the host."""
        seed(self.host_files, files)

    def make_layer(self, path: str, *, system: bool = True) -> str:
        """Make a layer directory, with the files of a small system or empty; returns its path."""
        make_layer(self.host_files, path, system=system)
        return path

    def has(self, path: str) -> bool:
        """Whether the host has a file or directory with this path."""
        try:
            self.model.host_mounts.resolve(self.model.host_mounts.root(), path, follow=False)
        except CallFailed:
            return False
        return True

    def read_file(self, path: str) -> bytes:
        """The content of a host file."""
        return read(self.model.host_mounts.resolve(self.model.host_mounts.root(), path)[-1].inode, self.model.init, path)

    def leaks(self) -> tuple[str, ...]:
        """Every kernel object that plans made and that is still there, each in a line; sorted."""
        processes = [f"process {p.pid}: {' '.join(p.args)}" for p in self.model.processes.living() if p.pid != 1]
        groups = [f"cgroup {group.path}" for group in self.model.cgroups.root.subtree() if group.parent is not None]
        groups = [line for line in groups if not self.model.cgroups.find(line[7:]).made_as_parent]
        made = {**self._interpreter.made, **self._shims.traces()}
        files = [f"{kind} {path}" for path, kind in made.items() if self.has(path)]
        mounts = [f"mount {path} in the host's namespace" for path in self.model.host_mounts.strays]
        names = [] if self.model.init.namespaces["uts"].hostname == self.model.hostname else ["hostname of the host"]
        return tuple(sorted([*processes, *groups, *files, *mounts, *names]))

    def forget_engine(self) -> None:
        """The engine ended, and another one takes over: it knows no process until it asks `find`."""
        self._shims.known.clear()

    def reboot(self) -> None:
        """The machine restarts: no process, no cgroup and nothing below /run survives; no exit status is written."""
        self._shims.power_off()
        for process in self.model.processes.living():
            process.scope.cancel()
        self.model.cgroups.root.children.clear()
        run = directory_at(self.host_files, "/run/docket")
        for name in run.names():
            directory_at(run, name).entries.clear()
        self.model.boot()
        self._boots += 1

    def oom_kill(self, pid: int) -> None:
        """The kernel kills a process for memory, and counts it in its cgroup."""
        process = self.model.processes.find(pid)
        if process.cgroup:
            self.model.cgroups.find(process.cgroup).files["memory.events"] = "oom_kill 1"
        self.model.processes.end(process, 128 + 9)

    # The port.

    def host(self) -> HostFacts:
        """The facts of the modelled host."""
        return HostFacts(
            boot_id=self.boot_id,
            kernel_release="6.12.0-fake",
            architecture="x86_64",
            hostname=self.model.hostname,
            operating_system="Fake Linux",
            cpus=2,
            memory_bytes=4 << 30,
            cgroup_root=self.model.cgroups.mount_point,
            controllers=tuple(sorted(self.model.cgroups.controllers)),
            capabilities=ALL_CAPABILITIES,
            seccomp=True,
            apparmor=bool(self.model.apparmor),
            possible_cpus=2,
            time_namespaces=True,
            apparmor_default="docker-default" in self.model.apparmor,
            swap_bytes=0,
            huge_page_sizes=("2MB",),
            rdma_devices=("mlx5_0",),
        )

    async def exists(self, path: str) -> bool:
        async with self._call("", "exists", path):
            try:
                self.model.host_mounts.resolve(self.model.host_mounts.root(), path)
            except CallFailed:
                return self.model.cgroups.exists(path)
            return True

    async def devices(self, path: str) -> tuple[HostDevice, ...]:
        async with self._call("", "devices", path):
            mounts = self.model.host_mounts
            try:
                inode = mounts.resolve(mounts.root(), path)[-1].inode
            except CallFailed:
                return ()
            return tuple(_devices(inode, path))

    async def launch(self, launch: Launch) -> Launched:
        async with self._call(launch.key, "launch", launch.plan.inside[-1].describe()):
            if launch.beside:
                self._shim(launch.beside)
            shim = self._shims.open(launch)
            task = Task(shim.process, shim.streams, launch.environment, launch.arguments)
            results: list[OperationResult] = []
            undos: list[Operation] = []
            try:
                for operation in launch.plan.operations():
                    changed = self._operation(launch.key, operation, task, results)
                    undo = operation.undo()
                    if changed and undo is not None:
                        undos.append(undo)
            except SimulatedCrash:
                self._shims.killed(shim, task)
                raise
            except CallFailed as failure:
                error = _error(results[-1].operation, failure)
                self._shims.failed(shim, task)
                self._take_back(launch.key, undos, task, results)
                self._crashed()
                raise LaunchFailed(error, tuple(results)) from None
            self._shims.started(shim, task.new)
            self.model.run(task.new, shim.streams)
            self._crashed()
            return Launched(self._identity(shim), tuple(results))

    def _operation(self, key: str, operation: Operation, task: Task, results: list[OperationResult]) -> bool:
        """Perform one operation and keep its result. Raises `CallFailed` or `SimulatedCrash`."""
        text = operation.describe()
        try:
            step, crash = self._begin(key, operation)
            try:
                changed = self._interpreter.perform(operation, task)
            except CallFailed as failure:
                raise self.faults.failed(step, failure) from None
        except CallFailed as failure:
            results.append(OperationResult(text, failure.errno, 0, failure.syscall, failure.path))
            raise
        results.append(OperationResult(text, 0, 0))
        self._finish(step, crash)
        return changed

    def _take_back(self, key: str, undos: list[Operation], task: Task, results: list[OperationResult]) -> None:
        """Undo in reverse; a failing undo does not stop the others."""
        for undo in reversed(undos):
            try:
                self._operation(key, undo, task, [])
            except CallFailed as failure:
                results.append(OperationResult("undo", failure.errno, 0, failure.syscall, failure.path))

    async def find(self, key: str, directory: str, exit_file: str) -> Found:
        async with self._call(key, "find", directory):
            shim = self._shims.at(directory)
            if shim is not None and shim.init.alive:
                self._shims.known[key] = shim
                return Found(self._identity(shim))
            if shim is not None:
                self._shims.known[key] = shim
            if not self.has(exit_file):
                return Found()
            told = json.loads(self.read_file(exit_file))
            return Found(exit=Exit(told["code"], told["oom"], told["time_ns"]))

    async def remains(self, directories: Sequence[str], paths: Sequence[str]) -> Remains:
        async with self._call("", "remains", " ".join(directories)):
            names = {name for path in directories for name in self._directories_in(path)}
            there = (path for path in paths if self.has(path) or self.model.cgroups.exists(path))
            return Remains(tuple(sorted(names)), tuple(sorted(there)))

    def _directories_in(self, path: str) -> list[str]:
        if not self.has(path):
            return []
        directory = self.model.host_mounts.resolve(self.model.host_mounts.root(), path)[-1].inode
        assert isinstance(directory, Directory)
        return [name for name in directory.names() if isinstance(directory.lookup(name), Directory)]

    async def exited(self, key: str) -> Exit:
        async with self._call(key, "exited", ""):
            shim = self._shim(key)
            await shim.ended.wait()
            if shim.exit is None:
                raise Unavailable(f"the shim of {key} ended before its process did: its exit status is not known")
            return shim.exit

    async def release(self, key: str, directory: str, exit_file: str, operations: Sequence[Operation]) -> None:
        async with self._call(key, "release", directory):
            shim = self._shims.known.pop(key, None)
            if shim is not None:
                shim.streams.close()
            failures = []
            task = Task(self.model.init, self._shims.silence)
            for operation in operations:
                try:
                    self._operation(key, operation, task, [])
                except CallFailed as failure:
                    failures.append(_error(operation.describe(), failure))
            self._shims.forget(directory, exit_file)
            self._crashed()
            if failures:
                raise failures[0]

    async def signal(self, key: str, identity: ProcessIdentity, signal: int) -> bool:
        async with self._call(key, "signal", f"signal {signal} to process {identity.pid}"):
            process = self.model.processes.table.get(identity.pid)
            if process is None or identity.boot_id != self.boot_id or process.start_time != identity.start_time:
                return False
            try:
                self.model.processes.signal(identity.pid, signal)
            except CallFailed as failure:
                if failure.errno == ESRCH:
                    return False
                raise _error(f"send signal {signal}", failure) from failure
            return True

    async def configure(self, key: str, operations: Sequence[Operation]) -> None:
        async with self._call(key, "configure", ""):
            task = Task(self.model.init, self._shims.silence)
            for operation in operations:
                try:
                    self._operation(key, operation, task, [])
                except CallFailed as failure:
                    raise _error(operation.describe(), failure) from failure

    async def freeze(self, cgroup: str) -> None:
        await self._write_freezer("freeze", cgroup, "1")

    async def thaw(self, cgroup: str) -> None:
        await self._write_freezer("thaw", cgroup, "0")

    async def _write_freezer(self, call: str, cgroup: str, value: str) -> None:
        async with self._call("", call, cgroup):
            try:
                self.model.write_cgroup(cgroup, "cgroup.freeze", value)
            except CallFailed as failure:
                raise _error(call, failure) from failure

    async def attach(self, key: str, attachment: Attachment) -> None:
        async with self._call(key, "attach", ""):
            self._shim(key).streams.attach(attachment)

    async def resize(self, key: str, rows: int, columns: int) -> None:
        async with self._call(key, "resize", f"{rows}x{columns}"):
            shim = self._shim(key)
            if shim.streams.terminal:
                shim.streams.rows, shim.streams.columns = rows, columns
                if shim.init.alive:
                    self.model.processes.signal(shim.init.pid, SIGWINCH)

    async def processes(self, cgroup: str) -> tuple[ProcessRow, ...]:
        async with self._call("", "processes", cgroup):
            members = [process for process in self.model.processes.living() if _within(process.cgroup, cgroup)]
            return tuple(
                ProcessRow(p.pid, p.parent, p.uid, " ".join(p.args), p.start_time_ns, 0, self._shims.terminal_of(p))
                for p in sorted(members, key=lambda process: process.pid)
            )

    async def statistics(self, cgroup: str, pid: int) -> Statistics:
        async with self._call("", "statistics", cgroup):
            cgroups = self.model.cgroups
            now = self.clock.now_ns()
            if not cgroups.exists(cgroup):
                return Statistics(now)
            available = cgroups.available(cgroups.find(cgroup))
            current = sum(_within(process.cgroup, cgroup) for process in self.model.processes.living())
            memory, pids = "memory" in available, "pids" in available
            return Statistics(
                now,
                cpu_ns=0,
                cpu_user_ns=0,
                cpu_system_ns=0,
                memory_bytes=current * _MEMORY_PER_PROCESS if memory else None,
                memory_limit_bytes=_limit(cgroups.read(cgroup, "memory.max")) if memory else None,
                pids=current if pids else None,
                pids_limit=_limit(cgroups.read(cgroup, "pids.max")) if pids else None,
            )

    # Steps.

    @asynccontextmanager
    async def _call(self, key: str, call: str, what: str) -> AsyncIterator[None]:
        """One call of the port. Raises `KernelError` or `SimulatedCrash` where a fault strikes."""
        await trio.lowlevel.checkpoint()
        try:
            step, crash = self._begin(key, call, what)
        except CallFailed as failure:
            raise _error(call, failure) from None
        yield
        self._finish(step, crash)
        self._crashed()

    def _begin(self, key: str, operation: Operation | str, what: str = "") -> tuple[Step, bool]:
        kind = type(operation).__name__
        try:
            return self.faults.begin(key, operation, what, SYSCALLS.get(kind, ""))
        except SimulatedCrash:
            self.forget_engine()
            raise

    def _finish(self, step: Step, crash: bool) -> None:
        if crash:
            self.forget_engine()
        self.faults.finish(step, crash)

    def _crashed(self) -> None:
        """Raise the crash that a shim survived."""
        if self.faults.pending_crash:
            self.forget_engine()
        self.faults.survived()

    def _shim(self, key: str) -> Shim:
        try:
            return self._shims.known[key]
        except KeyError:
            raise Unavailable(f"no shim of {key} is known to this engine") from None

    def _identity(self, shim: Shim) -> ProcessIdentity:
        return ProcessIdentity(shim.init.pid, shim.init.start_time, self.boot_id)


def _devices(inode: Inode, path: str) -> Iterator[HostDevice]:
    if isinstance(inode, Node):
        yield HostDevice(path, inode.kind, inode.major, inode.minor, inode.mode)
    elif isinstance(inode, Directory):
        for name in sorted(inode.names()):
            below = inode.lookup(name)
            if below is not None:
                yield from _devices(below, f"{path}/{name}")


def _error(operation: str, failure: CallFailed) -> KernelError:
    return KernelError(operation, failure.syscall, failure.errno, failure.path, strerror(failure.errno))


def _within(cgroup: str, outer: str) -> bool:
    return bool(cgroup) and (cgroup == outer or cgroup.startswith(f"{outer}/"))


def _limit(value: str) -> int | None:
    return None if value == "max" else int(value)

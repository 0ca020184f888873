"""The shims of the model: one per container, keeping the streams, log and exit status of its first process and of its execs.

A shim outlives the engine. Which of them an engine knows (`Shims.known`) is the engine's memory, and is lost with it.
"""

from __future__ import annotations

import json

import trio

from docket.domain.output_log import RUN_BEGINS
from docket.domain.ports import Exit, Launch, LogEntry
from docket.kernel.fake.filesystem import Directory, File, directory_at
from docket.kernel.fake.linux_errno import ENOENT, CallFailed
from docket.kernel.fake.model import Model, Observer
from docket.kernel.fake.ports import FakeOutputLogs
from docket.kernel.fake.processes import Process
from docket.kernel.fake.streams import Streams
from docket.kernel.fake.task import Task


class Shim:
    """A shim's part for one process: what `docket.kernel.shim.keeper` is on Linux. An exec's has its container's ``process``."""

    def __init__(self, launch: Launch, process: Process, streams: Streams) -> None:
        self.launch = launch
        self.process = process
        self.streams = streams
        self.started: Process | None = None
        self.exit: Exit | None = None
        self.ended = trio.Event()

    @property
    def init(self) -> Process:
        """The process that it was made for."""
        assert self.started is not None
        return self.started


class Shims(Observer):
    """All shims, by their directories."""

    def __init__(self, model: Model, logs: FakeOutputLogs) -> None:
        self._model = model
        self._logs = logs
        self._by_directory: dict[str, Shim] = {}
        self.known: dict[str, Shim] = {}
        """What the running engine knows, by key."""
        self._traces: dict[str, str] = {}
        self.silence = Streams(terminal=False, stdin=False, stdin_once=False)

    def open(self, launch: Launch) -> Shim:
        """A shim begins, in its own directory."""
        parent, _, name = launch.directory.rstrip("/").rpartition("/")
        directory_at(directory_at(self._model.files, parent), name, 0o700)
        self._traces[launch.directory] = "directory"
        process = self._process_for(launch)
        settings = launch.log

        run = launch.run

        def write_log(stream: int, data: bytes) -> None:
            nonlocal run
            if settings is not None:
                if run:
                    self._logs.append(settings, LogEntry(self._model.clock.now_ns(), RUN_BEGINS, run.to_bytes(4, "big")))
                    run = 0
                self._logs.append(settings, LogEntry(self._model.clock.now_ns(), stream, data))

        streams = Streams(
            terminal=launch.terminal,
            stdin=launch.stdin,
            stdin_once=launch.stdin_once,
            write_log=write_log if settings is not None else None,
            past=(lambda: self._logs.entries(settings.path)) if settings is not None else list,
        )
        if settings is not None:
            self._logs.open(settings.path)
        shim = Shim(launch, process, streams)
        self._by_directory[launch.directory] = shim
        for attachment in launch.attachments:
            streams.attach(attachment)
        return shim

    def started(self, shim: Shim, process: Process) -> None:
        """The process of a shim has executed its program."""
        shim.started = process
        self.known[shim.launch.key] = shim

    def _process_for(self, launch: Launch) -> Process:
        beside = self.known.get(launch.beside)
        if beside is not None and beside.process.alive:
            return beside.process
        process = self._model.processes.fork(self._model.init, (), self._model.clock.now_ns(), into={})
        process.args = ("docket-shim",)
        return process

    def failed(self, shim: Shim, task: Task) -> None:
        """The plan of a shim failed: the process ends, a shim of its own too, and no directory is left."""
        if task.process is not None:
            self._model.processes.end(task.process, 128 + 9)
        self._end(shim)
        self._remove(shim.launch.directory)

    def killed(self, shim: Shim, task: Task) -> None:
        """A shim is killed while it performs a plan: what it keeps ends with it, and nobody learns how. What was prepared stays."""
        if task.process is not None:
            self._model.processes.end(task.process, 128 + 9)
        for kept in [kept for kept in self._by_directory.values() if kept.process is shim.process]:
            self._end(kept)
            if kept.started is not None:
                self._model.processes.end(kept.started, 128 + 9)

    def power_off(self) -> None:
        """Nothing of any shim is left."""
        for shim in list(self._by_directory.values()):
            self._end(shim)
            shim.ended.set()
        self.known.clear()
        self._traces = {path: kind for path, kind in self._traces.items() if not path.startswith("/run/")}

    def _end(self, shim: Shim) -> None:
        self._by_directory.pop(shim.launch.directory, None)
        shim.streams.close()
        if shim.launch.log is not None and shim.exit is None:
            self._logs.close(shim.launch.log.path)
        self._let_go(shim)

    def _let_go(self, shim: Shim) -> None:
        """A shim's process ends when it keeps no living process any longer."""
        kept = (other for other in self._by_directory.values() if other is not shim and other.exit is None)
        if shim.process.alive and not any(other.process is shim.process for other in kept):
            self._model.processes.end(shim.process, 0)

    def process_ended(self, process: Process) -> None:
        """Keep the exit status of a process that a shim was made for."""
        for shim in list(self._by_directory.values()):
            if shim.started is process and shim.exit is None:
                self._keep(shim, process)

    def _keep(self, shim: Shim, process: Process) -> None:
        launch = shim.launch
        oom = self._oom_killed(launch.cgroup)
        shim.exit = Exit(process.exit_code or 0, oom, self._model.clock.now_ns())
        told = {"code": shim.exit.code, "oom": oom, "time_ns": shim.exit.time_ns}
        parent, _, name = launch.exit_file.rpartition("/")
        directory_at(self._model.files, parent).replace(name, File(0o600, json.dumps(told).encode()))
        self._traces[launch.exit_file] = "exit file"
        if launch.log is not None:
            self._logs.close(launch.log.path)
        self._let_go(shim)
        shim.ended.set()

    def _oom_killed(self, cgroup: str) -> bool:
        try:
            return bool(cgroup) and self._model.cgroups.read(cgroup, "memory.events") != "oom_kill 0"
        except CallFailed as failure:
            if failure.errno != ENOENT:
                raise
            return False

    def at(self, directory: str) -> Shim | None:
        """The shim that lives in a directory and has started its process."""
        shim = self._by_directory.get(directory)
        return shim if shim is not None and shim.started is not None else None

    def forget(self, directory: str, exit_file: str) -> None:
        """Remove the traces of a shim whose end is in the log."""
        shim = self._by_directory.pop(directory, None)
        if shim is not None:
            shim.streams.close()
        self._remove(directory)
        self._remove(exit_file)

    def terminal_of(self, process: Process) -> str:
        """The name of the terminal of a shim's process, ``?`` without one."""
        mine = [shim for shim in self._by_directory.values() if shim.started is process and shim.streams.terminal]
        return "pts/0" if mine else "?"

    def traces(self) -> dict[str, str]:
        """Shim directories and exit files that were made and not taken back by a release, and which of the two each is."""
        return dict(self._traces)

    def _remove(self, path: str) -> None:
        self._traces.pop(path, None)
        parent, _, name = path.rstrip("/").rpartition("/")
        try:
            holder = self._model.host_mounts.resolve(self._model.host_mounts.root(), parent)[-1].inode
        except CallFailed as failure:
            if failure.errno != ENOENT:
                raise
            return
        assert isinstance(holder, Directory)
        holder.entries.pop(name, None)

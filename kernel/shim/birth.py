"""Performing a plan: the shim's side and the new process's side, and what they say to each other.

    shim                                        new process
    ── prepare ──
    clone3 ───────────────────────────────────► starts
    ── settle ──
    one byte on the channel ──────────────────► waits for it when there is something to settle
                                                ── inside ──
    ◄──────────── terminal master (SCM_RIGHTS)  OpenTerminal
    ◄──────────── a line for each operation     just before execve
    end of the status pipe = execve succeeded   execve closes the pipe
    ◄──────────── one more line, with errno     or the operation failed, and the process is gone

A status line is ``index TAB errno TAB duration_ns TAB syscall TAB path``; the index counts the plan's operations from 0.
"""

from __future__ import annotations

import _signal
import _socket
import os
from binascii import a2b_base64
from collections.abc import Callable
from errno import EPIPE
from time import perf_counter_ns
from typing import Any, NoReturn

from docket.kernel.linux import abi, host, process, syscalls
from docket.kernel.linux.context import Context
from docket.kernel.linux.id_mapping import answer_of_helper
from docket.kernel.linux.interpreter import Operation, perform
from docket.kernel.linux.syscalls import SyscallError

_SCM_RIGHTS = 1
_RESET_SIGNALS = (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT, _signal.SIGTERM, _signal.SIGCHLD)


class Failed(Exception):
    """An operation failed; what was prepared has been taken back."""


class Birth:
    """One performance of a plan."""

    def __init__(self, request: dict[str, Any]) -> None:
        plan = request["plan"]
        self.prepare: list[Operation] = plan["prepare"]
        self.clone: Operation = plan["process"]
        self.settle: list[Operation] = plan["settle"]
        self.inside: list[Operation] = plan["inside"]
        self.undo: list[Operation | None] = request["undo"]
        self.context = Context(request["arguments"], request["environment"])
        self.lines: list[str] = []
        self.pid = 0
        self.pidfd = -1
        self.master = -1
        self.status = -1
        """The status pipe, from `begin` to `conclude`: readable when the new process has something to say."""
        self._said = bytearray()
        self._done: list[Operation] = []
        """The undos of what was prepared."""
        for operation in self.inside:
            if operation[0] == "LoadSeccomp":
                process.prepare_seccomp(operation[1], a2b_base64(operation[1]))
        init = self.inside[-1][2]
        if init:
            self.context.init_fd = _init_file(a2b_base64(init))

    @property
    def owner(self) -> tuple[int, int]:
        """Whose the process's standard streams are, on the host: the root's that it becomes."""
        for operation in self.inside:
            if operation[0] == "BecomeRoot":
                return operation[1], operation[2]
        return 0, 0

    def begin(self, wire: Callable[[], None]) -> None:
        """Make the process, which goes on alone; ``wire`` is called in it and gives it its standard streams. Raises `Failed`."""
        try:
            for operation, undo in zip(self.prepare, self.undo, strict=True):
                if self._step(operation) and undo is not None:
                    self._done.append(undo)
            self._start(wire)
        except SyscallError as error:
            self._fail(error)

    def told(self) -> bool:
        """Take in what the new process says on `status`, which never waits; True when it has said everything."""
        while True:
            try:
                chunk = os.read(self.status, 65_536)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self._said += chunk

    def conclude(self) -> None:
        """The process runs its program now, and `master` is its terminal. Raises `Failed`."""
        try:
            self._read_status()
            self.master = _receive_descriptor(self._ours)
        except SyscallError as error:
            self._kill()
            self._fail(error)
        self._close()

    def give_up(self) -> None:
        """Kill the process, without waiting for its end."""
        os.kill(self.pid, 9)
        self._close()

    def _fail(self, error: SyscallError) -> NoReturn:
        self._let_go()
        self._close()
        for undo in reversed(self._done):
            try:
                perform(self.context, undo)
            except SyscallError as failure:
                # A failing undo does not stop the others, and is told as a line of its own.
                self.lines.append(_line(-1, 0, failure))
        raise Failed from error

    def _kill(self) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        self.pidfd = -1

    def _close(self) -> None:
        """Give back what the shim and the new process talked through."""
        if self.status >= 0:
            os.close(self.status)
            self._ours.close()
            self.status = -1

    def _step(self, operation: Operation) -> bool:
        started = perf_counter_ns()
        try:
            changed = perform(self.context, operation)
        except SyscallError as error:
            self._note(started, error)
            raise
        self._note(started)
        return changed

    def _note(self, started: int, error: SyscallError | None = None) -> None:
        duration = perf_counter_ns() - started
        self.lines.append(_line(len(self.lines), duration, error))

    def _start(self, wire: Callable[[], None]) -> None:
        self._ours, theirs = _socketpair()
        self.status, status_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.status, False)
        started = perf_counter_ns()
        try:
            self._clone()
        except SyscallError as error:
            theirs.close()
            os.close(status_end)
            self._note(started, error)
            raise
        if self.pid == 0:
            self.context.channel = theirs
            self.context.keep_fd = status_end
            self._inside(wire, self._ours)
        self._note(started)
        theirs.close()
        os.close(status_end)
        self._let_go()
        try:
            self.context.child_pid = self.pid
            for operation in self.settle:
                self._step(operation)
            if self.settle:
                self._ours.send(b"\0")
        except SyscallError:
            self._kill()
            raise

    def _let_go(self) -> None:
        """What was held for the new process is the new process's: here it would keep host mounts busy for the shim's whole life."""
        context = self.context
        for descriptor in [*(tree for trees in context.trees.values() for tree in trees), *context.pidfds.values()]:
            os.close(descriptor)
        context.trees.clear()
        context.pidfds.clear()
        if context.init_fd >= 0:
            os.close(context.init_fd)
            context.init_fd = -1

    def _clone(self) -> None:
        flags = 0
        for name in self.clone[1]:
            flags |= abi.NAMESPACES[name]
        for operation in self.inside:
            if operation[0] in ("JoinNamespaces", "HoldPeerTree"):
                host.open_process(self.context, operation[1], operation[2])
        cgroup = host.cgroup_descriptor(self.clone[2]) if self.clone[2] else None
        try:
            if self.context.users_of:
                self.pid, self.pidfd = _clone_among_users(self.context.pidfds[self.context.users_of], flags, cgroup)
            else:
                self.pid, self.pidfd = syscalls.clone3(flags, cgroup)
        finally:
            if cgroup is not None:
                os.close(cgroup)

    def _read_status(self) -> None:
        lines = self._said.decode("utf-8", "surrogateescape").splitlines()
        self.lines += lines
        expected = len(self.prepare) + 1 + len(self.settle) + len(self.inside) - 1
        last = lines[-1].split("\t") if lines else []
        if last and last[1] != "0":
            raise SyscallError(last[3], int(last[1]), last[4])
        if len(self.lines) < expected:
            error = SyscallError("clone3", EPIPE, "the new process ended while it prepared itself")
            self.lines.append(_line(len(self.lines), 0, error))
            raise error

    def _inside(self, wire: Callable[[], None], ours: _socket.socket) -> NoReturn:
        """The new process: from here to execve nothing is imported, decoded or printed (security.md, rule 5)."""
        context = self.context
        base = len(self.prepare) + 1 + len(self.settle)
        lines: list[str] = []
        try:
            started = perf_counter_ns()
            try:
                for number in _RESET_SIGNALS:
                    _signal.signal(number, _signal.SIG_DFL)
                ours.close()
                wire()
                channel = context.channel
                if self.settle:
                    channel.recv(1)  # type: ignore[attr-defined]
                for operation in self.inside[:-1]:
                    started = perf_counter_ns()
                    perform(context, operation)
                    lines.append(_line(base + len(lines), perf_counter_ns() - started, None))
                _write_all(context.keep_fd, lines)
                base, lines = base + len(lines), []
                started = perf_counter_ns()
                perform(context, self.inside[-1])
            except SyscallError as error:
                lines.append(_line(base + len(lines), perf_counter_ns() - started, error))
                _write_all(context.keep_fd, lines)
        finally:
            os._exit(70)


def _clone_among_users(peer: int, flags: int, cgroup: int | None) -> tuple[int, int]:
    """clone3 from within the user namespace of the process ``peer``, by a helper that goes there and ends.

    The shim could not come back. The new process is the shim's own child all the same; its pid is read from the descriptor, for
    the helper may be in another pid namespace and know it by another.
    """
    ours, theirs = _socketpair()
    helper = os.fork()
    if helper == 0:
        try:
            try:
                syscalls.setns(peer, abi.NAMESPACES["user"])
                pid, pidfd = syscalls.clone3(flags, cgroup, sibling=True)
            except SyscallError as error:
                theirs.send(f"{error.syscall}\t{error.errno}\t".encode())
                os._exit(0)
            if pid == 0:
                ours.close()
                theirs.close()
                return 0, -1
            theirs.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _SCM_RIGHTS, pidfd.to_bytes(4, "little"))])
        except BaseException:
            os._exit(1)
        os._exit(0)
    theirs.close()
    pidfd = answer_of_helper(ours, helper)
    told = host.read_small_file(f"/proc/self/fdinfo/{pidfd}")
    return int(told[told.index("Pid:") + 4 :].split(None, 1)[0]), pidfd


def _line(index: int, duration_ns: int, error: SyscallError | None) -> str:
    if error is None:
        return f"{index}\t0\t{duration_ns}\t\t"
    syscall, path = (text.replace("\t", " ").replace("\n", " ") for text in (error.syscall, error.path))
    return f"{index}\t{error.errno}\t{duration_ns}\t{syscall}\t{path}"


def _write_all(fd: int, lines: list[str]) -> None:
    data = "".join([line + "\n" for line in lines]).encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(fd, data) :]


def _socketpair() -> tuple[_socket.socket, _socket.socket]:
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return first, second


def _receive_descriptor(channel: _socket.socket) -> int:
    """The terminal's master, when one was sent; the peer is past execve, so nothing else can come."""
    channel.setblocking(False)
    try:
        _, ancillary, _, _ = channel.recvmsg(1, 64)
    except BlockingIOError:
        return -1
    for _, _, data in ancillary:
        return int.from_bytes(data[:4], "little")
    return -1


def _init_file(program: bytes) -> int:
    from docket.kernel.linux.sealed import sealed_program

    return sealed_program("docker-init", program)

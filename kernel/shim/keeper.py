"""The keeper of one process: perform the plan, move bytes, wait for the end, keep the exit status until the log has it.

    begin                      the plan up to the new process, which then goes on alone
    ── the loop ──             the plan's result · output → log and clients · clients → stdin · control messages
    process ends               exit file written, "exited" told
    "release" or no daemon     clients closed once they have everything; the keeper ends

Control messages are JSON, one a packet. From the daemon: ``attach`` (with a descriptor), ``resize``, ``release``, and
``launch`` (an exec: with its control socket, and a memfd with the request). To the daemon: ``launched`` or ``failed`` first,
``exited`` last, ``broken`` when keeping itself fails. A daemon that comes later connects to ``shim.sock`` in the process's
directory and is told ``found``, with the exit status when there is one. The exit file survives shim and daemon; where the disk
refuses it, the shim waits for a daemon that takes the exit status from itself.
"""

from __future__ import annotations

import _socket
import array
import os
import select
from collections.abc import Callable
from time import monotonic, time_ns
from typing import Any

from docket.domain.compact_json import dumps, loads
from docket.kernel.linux.host import read_small_file, start_time_of
from docket.kernel.linux.process import set_window_size
from docket.kernel.linux.systemd import leave_scope
from docket.kernel.shim import endpoints
from docket.kernel.shim.birth import Birth, Failed
from docket.kernel.shim.clients import Client
from docket.kernel.shim.output import OutputLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.kernel.shim.main import Shim

_READ = 262_144
_MESSAGE = 65_536


class Keeper:
    """One process's keeper. The shim calls it for its descriptors, and `balance` after each turn."""

    BIRTH_SECONDS = 60.0
    """How long a plan may take. What hangs longer is given up, and the engine takes back what was prepared."""

    def __init__(self, shim: Shim, control: _socket.socket, request: dict[str, Any]) -> None:
        self._shim = shim
        self._request = request
        self._control: _socket.socket | None = control
        self._clients: dict[int, Client] = {}
        self._outputs: dict[int, int] = {}
        self._paused = False
        self._stdin = -1
        self._stdin_pending = bytearray()
        self._stdin_ending = False
        self._terminal = -1
        self._log: OutputLog | None = None
        self._exit: dict[str, Any] | None = None
        self._released = False
        self._kept = False
        """The exit status is on disk: an engine that comes later finds it there."""
        self._failed = False
        self.deadline = 0.0
        """When the process has to be alive (monotonic seconds), while it is not; 0 without a deadline."""
        self._listener = endpoints.listen(request["directory"], request["inode"])
        self._birth = Birth(request)

    @property
    def pid(self) -> int:
        """The process; 0 before it was made."""
        return self._birth.pid

    # Birth.

    def begin(self) -> None:
        """Perform the plan as far as it is the shim's; `_hear_birth` learns how the new process went on."""
        for _ in range(self._request["attachments"]):
            self._receive_control()
        self.deadline = monotonic() + self.BIRTH_SECONDS
        ends: tuple[int, ...] = ()
        try:
            if self._request["terminal"]:
                self._birth.begin(lambda: None)
            else:
                ends = self._make_streams()
                self._birth.begin(lambda: _wire(ends))
        except Failed:
            self._fail()
            return
        finally:
            for descriptor in ends:
                os.close(descriptor)
        self._watch_for(self._birth.status, select.EPOLLIN, self._hear_birth)

    def _make_streams(self) -> tuple[int, ...]:
        """Make the pipes of the process's streams; returns its own ends."""
        stdin, self._stdin = os.pipe2(os.O_CLOEXEC) if self._request["stdin"] else (endpoints.null(), -1)
        out, out_end = endpoints.wide_pipe()
        err, err_end = endpoints.wide_pipe()
        uid, gid = self._birth.owner
        for descriptor in (out_end, err_end, *((stdin,) if self._stdin >= 0 else ())):
            os.fchown(descriptor, uid, gid)
        if self._stdin >= 0:
            os.set_blocking(self._stdin, False)
        for descriptor, stream in ((out, 1), (err, 2)):
            os.set_blocking(descriptor, False)
            self._outputs[descriptor] = stream
        return stdin, out_end, err_end

    def _hear_birth(self, mask: int) -> None:
        if not self._birth.told():
            return
        self._shim.unwatch(self._birth.status)
        try:
            self._birth.conclude()
        except Failed:
            self._fail()
            return
        self.deadline = 0.0
        if self._request["terminal"]:
            self._terminal = self._stdin = self._birth.master
            os.set_blocking(self._terminal, False)
            self._outputs[self._terminal] = 1
        if self._request["log"]:
            settings = self._request["log"]
            self._log = OutputLog(settings["path"], settings["max_bytes"], settings["files"], self._request["run"])
        self.tell({"launched": self._birth.lines, **self._identity()})
        self._begin_watching()
        for client in list(self._clients.values()):
            self._read_client(client)

    def _fail(self) -> None:
        endpoints.remove_socket(self._request["directory"])
        self.tell({"failed": self._birth.lines})
        self._failed = True
        self.deadline = 0.0

    def _identity(self) -> dict[str, int]:
        try:
            return {"pid": self._birth.pid, "start_time": start_time_of(self._birth.pid)}
        except OSError:
            return {"pid": self._birth.pid, "start_time": 0}

    def _begin_watching(self) -> None:
        self._watch_for(self._birth.pidfd, select.EPOLLIN, self._reap)
        self._watch_for(self._listener.fileno(), select.EPOLLIN, self._accept)
        if self._control is not None:
            self._watch_for(self._control.fileno(), select.EPOLLIN, self._receive_control)
        for descriptor in self._outputs:
            self._watch_output(descriptor)
        for client in self._clients.values():
            self._watch(client)

    def _watch_for(self, descriptor: int, mask: int, handler: Callable[[int], None]) -> None:
        self._shim.watch(self, descriptor, mask, handler)

    # Output.

    def _watch_output(self, descriptor: int) -> None:
        if descriptor == self._terminal:
            self._watch_terminal()
        elif self._paused:
            self._shim.unwatch(descriptor)
        else:
            self._watch_for(descriptor, select.EPOLLIN, lambda mask: self._pump_all(descriptor))

    def _watch_terminal(self) -> None:
        """A terminal is both: output unless a client is full, input while some is pending."""
        mask = select.EPOLLIN if self._terminal in self._outputs and not self._paused else 0
        mask |= select.EPOLLOUT if self._stdin_pending else 0
        if mask:
            self._watch_for(self._terminal, mask, self._serve_terminal)
        else:
            self._shim.unwatch(self._terminal)

    def _serve_terminal(self, mask: int) -> None:
        if mask & ~select.EPOLLOUT:
            self._pump_all(self._terminal)
        if mask & select.EPOLLOUT:
            self._feed()

    def _pump_all(self, descriptor: int) -> None:
        if descriptor in self._outputs:
            self._pump(descriptor)

    def _pump(self, descriptor: int) -> int:
        """Move one piece of output; returns its size, 0 when there is none for now or no more at all."""
        try:
            data = os.read(descriptor, _READ)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""  # EIO: the terminal's other side is closed
        if not data:
            self._close_output(descriptor)
            return 0
        stream = self._outputs[descriptor]
        if self._log is not None:
            self._log.append(stream, data)
        for client in self._clients.values():
            client.send(stream, data)
        return len(data)

    def _close_output(self, descriptor: int) -> None:
        del self._outputs[descriptor]
        if descriptor == self._terminal:
            self._watch_terminal()
        else:
            self._shim.unwatch(descriptor)
            os.close(descriptor)

    def balance(self) -> None:
        """Stop reading output while a client is full, resume when none is; forget clients that are gone, and a birth that hangs."""
        if self.deadline and monotonic() >= self.deadline:
            self._give_up()
        if not self._clients and not self._paused:
            return
        for client in [client for client in self._clients.values() if client.gone]:
            self._drop(client)
        full = any(client.full for client in self._clients.values())
        if full != self._paused:
            self._paused = full
            for descriptor in self._outputs:
                self._watch_output(descriptor)
        if not self.deadline:
            for client in self._clients.values():
                self._watch(client)

    def _give_up(self) -> None:
        """The new process hangs in its plan: it is killed, and buried whenever the kernel lets go of it."""
        self._shim.unwatch(self._birth.status)
        self._birth.give_up()
        self.tell({"broken": f"the plan took longer than {self.BIRTH_SECONDS:g} s"})
        endpoints.remove_socket(self._request["directory"])
        self._failed = True
        self.deadline = 0.0

    # Clients.

    def _watch(self, client: Client) -> None:
        mask = select.EPOLLIN if client.stdin and len(self._stdin_pending) < _READ else 0
        mask |= select.EPOLLOUT if client.pending else 0
        self._watch_for(client.fileno(), mask, lambda mask: self._serve(client, mask))

    def _serve(self, client: Client, mask: int) -> None:
        if mask & select.EPOLLOUT:
            client.flush()
        if mask & select.EPOLLIN:
            self._read_client(client)
        elif mask & (select.EPOLLHUP | select.EPOLLERR):
            client.gone = True

    def _read_client(self, client: Client) -> None:
        if not client.stdin:
            return
        data, ended = client.receive()
        if data and self._stdin >= 0:
            self._stdin_pending += data
            self._feed()
        if ended:
            client.stdin = False
            if self._request["stdin_once"] and self._terminal < 0:
                self._stdin_ending = True
                self._feed()

    def _feed(self, mask: int = 0) -> None:
        """Write pending input to the process; close its stdin behind the last byte when that was the end."""
        if self._stdin < 0:
            self._stdin_pending.clear()
            return
        try:
            while self._stdin_pending:
                written = os.write(self._stdin, self._stdin_pending[:_READ])
                del self._stdin_pending[:written]
        except BlockingIOError:
            self._watch_stdin()
            return
        except OSError:
            self._stdin_pending.clear()
            self._stdin_ending = self._terminal < 0
        self._watch_stdin()
        if self._stdin_ending and self._stdin != self._terminal:
            os.close(self._stdin)
            self._stdin = -1

    def _watch_stdin(self) -> None:
        if self._stdin == self._terminal:
            self._watch_terminal()
        elif self._stdin_pending:
            self._watch_for(self._stdin, select.EPOLLOUT, self._feed)
        else:
            self._shim.unwatch(self._stdin)

    def _drop(self, client: Client) -> None:
        del self._clients[client.fileno()]
        self._shim.unwatch(client.fileno())
        client.close()

    # The daemon.

    def _accept(self, mask: int) -> None:
        """A new daemon takes over from one that is gone."""
        accept: Any = self._listener
        connection, _ = accept._accept()
        if self._control is not None:
            self._close_control()
        self._control = _socket.socket(fileno=connection)
        self._watch_for(connection, select.EPOLLIN, self._receive_control)
        self.tell({"found": self._exit, **(self._identity() if self._exit is None else {})})

    def _receive_control(self, mask: int = 0) -> None:
        assert self._control is not None
        try:
            message, ancillary, _, _ = self._control.recvmsg(_MESSAGE, 64)
        except OSError:
            message, ancillary = b"", []
        if not message:
            self._close_control()
            return
        order = loads(message.decode())
        if "attach" in order:
            self._attach(_descriptors(ancillary)[0], order["attach"])
        elif "launch" in order:
            control, request = _descriptors(ancillary)
            self._shim.keep(_socket.socket(fileno=control), request)
        elif "resize" in order and self._terminal >= 0:
            set_window_size(self._terminal, *order["resize"])
        elif "release" in order:
            self._released = True
            leave_scope(self._birth.context)

    def _attach(self, descriptor: int, settings: dict[str, Any]) -> None:
        client = Client(descriptor, settings)
        self._clients[client.fileno()] = client
        after_run = settings["past_after"]
        if after_run is not None and self._log is not None:
            client.send_past(self._log.past(after_run))
            client.flush()
        if self._birth.pid:
            self._read_client(client)

    def _close_control(self) -> None:
        if self._control is not None:
            self._shim.unwatch(self._control.fileno())
            self._control.close()
            self._control = None

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to the daemon, if there is one."""
        if self._control is None:
            return
        try:
            self._control.send(dumps(message).encode())
        except OSError:
            self._close_control()

    # The end.

    def _reap(self, mask: int) -> None:
        self._shim.unwatch(self._birth.pidfd)
        _, status = os.waitpid(self._birth.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        for descriptor in list(self._outputs):
            # What the process wrote fits into its pipe; its children may hold that open and write for ever.
            left = endpoints.PIPE_BYTES
            while left > 0 and (moved := self._pump(descriptor)):
                left -= moved
        self._exit = {
            "code": code if code >= 0 else 128 - code,
            "oom": self._oom_killed(),
            "time_ns": time_ns(),
        }
        self._kept = endpoints.write_atomically(self._request["exit_file"], dumps(self._exit))
        self.tell({"exited": self._exit})
        self._shim.reap_adopted()

    def _oom_killed(self) -> bool:
        """Whether the kernel killed for memory in the process's cgroup (memory.events, cgroup-v2)."""
        try:
            events = read_small_file(f"{self._request['cgroup']}/memory.events")
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in events.splitlines())

    @property
    def finished(self) -> bool:
        """There is nothing left to do."""
        if self._failed:
            return True
        if self._exit is None:
            return False
        if not self._released and (self._control is not None or not self._kept):
            return False
        return not any(client.pending for client in self._clients.values())

    def end(self) -> None:
        """Give back every descriptor and the name to be found by: a shim's process may live on for others."""
        for client in list(self._clients.values()):
            self._drop(client)
        if self._log is not None:
            self._log.close()
        if not self._failed:
            endpoints.remove_socket(self._request["directory"])
        self._close_control()
        self._shim.unwatch(self._listener.fileno())
        self._listener.close()
        for descriptor in {self._birth.pidfd, self._stdin, *self._outputs}:
            if descriptor >= 0:
                self._shim.unwatch(descriptor)
                os.close(descriptor)

    def abandon(self) -> None:
        """End although the process may live: it is killed."""
        self._shim.unwatch(self._birth.status)
        if self._birth.pid and self._exit is None and not self._failed:
            self._birth.give_up()
        self.end()


def _wire(ends: tuple[int, ...]) -> None:
    """In the new process: these are its stdin, stdout and stderr."""
    for descriptor, end in enumerate(ends):
        os.dup2(end, descriptor)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> array.array[int]:
    return array.array("i", ancillary[0][2])

"""The life of a shim: perform the plan, move bytes, wait for the end, keep the exit status until the log has it.

    launcher ─fork─► run(control, request)
                       ├─ Birth.perform            the process, or a failure that undid itself
                       ├─ loop                     output → log and clients · clients → stdin · control messages
                       ├─ process ends             exit file written, "exited" told
                       └─ "release" or no daemon   clients closed once they have everything; the shim ends

Control messages are JSON, one a packet. From the daemon: ``attach`` (with a descriptor), ``resize``, ``release``. To the daemon:
``launched`` or ``failed`` first, ``exited`` last, ``broken`` when the shim itself fails. A daemon that comes later connects to
``shim.sock`` in the shim's directory and is told ``found``, with the exit status when there is one. The exit file survives shim
and daemon; where the disk refuses it, the shim waits for a daemon that takes the exit status from itself.
"""

from __future__ import annotations

import _signal
import _socket
import array
import os
import select
from time import time_ns
from typing import Any

from docket.domain.compact_json import dumps, loads
from docket.kernel.linux import abi, syscalls
from docket.kernel.linux.host import read_small_file, start_time_of
from docket.kernel.linux.process import set_window_size
from docket.kernel.linux.systemd import leave_scope
from docket.kernel.shim import endpoints
from docket.kernel.shim.birth import Birth, Failed
from docket.kernel.shim.clients import Client
from docket.kernel.shim.output import OutputLog

_BIRTH_SECONDS = 60
"""How long a plan may take. A call that hangs longer ends the shim, and the engine takes back what was prepared."""
_READ = 262_144
_MESSAGE = 65_536


def run(control: int, request_fd: int) -> None:
    """Be the shim of the request in the memfd ``request_fd``; returns when there is nothing left to do.

    Its standard streams are nobody's: it outlives the daemon, and who reads the daemon's output must see that end. What goes wrong
    here is told to the daemon instead, and raised.
    """
    os.setsid()
    endpoints.leave_standard_streams()
    syscalls.prctl(abi.PR_SET_DUMPABLE, 0)
    syscalls.prctl(abi.PR_SET_CHILD_SUBREAPER, 1)
    request = loads(_read_all(request_fd))
    os.close(request_fd)
    channel = _socket.socket(fileno=control)
    shim: Shim | None = None
    try:
        shim = Shim(channel, request)
        shim.live()
    except BaseException as error:
        tell = shim.tell if shim is not None else lambda message: _send(channel, message)
        tell({"broken": f"{type(error).__name__}: {error}"})
        raise


def _send(channel: _socket.socket, message: dict[str, Any]) -> None:
    channel.send(dumps(message).encode())


def _read_all(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    chunks = []
    while chunk := os.read(fd, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks).decode()


class Shim:
    """One process's keeper."""

    def __init__(self, control: _socket.socket, request: dict[str, Any]) -> None:
        self._request = request
        self._control: _socket.socket | None = control
        self._epoll = select.epoll()
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
        self._listener = endpoints.listen(request["directory"], request["inode"])
        self._birth = Birth(request)

    def live(self) -> None:
        for _ in range(self._request["attachments"]):
            self._receive_control()
        _signal.setitimer(_signal.ITIMER_REAL, _BIRTH_SECONDS)
        try:
            self._give_birth()
        except Failed:
            endpoints.remove_socket(self._request["directory"])
            self.tell({"failed": self._birth.lines})
            self._close()
            return
        finally:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
        if self._request["log"]:
            settings = self._request["log"]
            self._log = OutputLog(settings["path"], settings["max_bytes"], settings["files"], self._request["run"])
        identity = self._identity()
        self.tell({"launched": self._birth.lines, **identity})
        self._begin_watching()
        for client in list(self._clients.values()):
            self._read_client(client)
        while not self._finished():
            self._turn()
        self._end()

    # Birth.

    def _give_birth(self) -> None:
        if self._request["terminal"]:
            self._birth.perform(lambda: None)
            self._terminal = self._stdin = self._birth.master
            os.set_blocking(self._terminal, False)
            self._outputs[self._terminal] = 1
            return
        stdin, stdin_end = os.pipe2(os.O_CLOEXEC) if self._request["stdin"] else (endpoints.null(), -1)
        out, out_end = endpoints.wide_pipe()
        err, err_end = endpoints.wide_pipe()
        uid, gid = self._birth.owner
        for descriptor in (out_end, err_end, *((stdin,) if stdin_end >= 0 else ())):
            os.fchown(descriptor, uid, gid)

        def wire() -> None:
            os.dup2(stdin, 0)
            os.dup2(out_end, 1)
            os.dup2(err_end, 2)

        self._birth.perform(wire)
        for descriptor in (stdin, out_end, err_end):
            os.close(descriptor)
        self._stdin = stdin_end
        if stdin_end >= 0:
            os.set_blocking(stdin_end, False)
        for descriptor, stream in ((out, 1), (err, 2)):
            os.set_blocking(descriptor, False)
            self._outputs[descriptor] = stream

    def _identity(self) -> dict[str, int]:
        try:
            return {"pid": self._birth.pid, "start_time": start_time_of(self._birth.pid)}
        except OSError:
            return {"pid": self._birth.pid, "start_time": 0}

    def _begin_watching(self) -> None:
        self._epoll.register(self._birth.pidfd, select.EPOLLIN)
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        if self._control is not None:
            self._epoll.register(self._control.fileno(), select.EPOLLIN)
        for descriptor in self._outputs:
            self._epoll.register(descriptor, select.EPOLLIN)
        for client in self._clients.values():
            self._watch(client)

    # The loop.

    def _finished(self) -> bool:
        if self._exit is None:
            return False
        if not self._released and (self._control is not None or not self._kept):
            return False
        return not any(client.pending for client in self._clients.values())

    def _turn(self) -> None:
        ended = False
        for descriptor, mask in self._epoll.poll():
            if descriptor == self._birth.pidfd:
                ended = True
            elif descriptor in self._outputs:
                self._pump(descriptor)
            elif descriptor in self._clients:
                self._serve(self._clients[descriptor], mask)
            elif descriptor == self._stdin:
                self._feed()
            elif descriptor == self._listener.fileno():
                self._accept()
            elif self._control is not None and descriptor == self._control.fileno():
                self._receive_control()
        if ended:
            self._reap()
        self._balance()

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
        if not self._paused:
            self._epoll.unregister(descriptor)
        if descriptor != self._terminal:
            os.close(descriptor)

    def _balance(self) -> None:
        """Stop reading output while a client is full, resume when none is; forget clients that are gone."""
        for client in [client for client in self._clients.values() if client.gone]:
            self._drop(client)
        full = any(client.full for client in self._clients.values())
        if full != self._paused:
            self._paused = full
            for descriptor in self._outputs:
                if full:
                    self._epoll.unregister(descriptor)
                else:
                    self._epoll.register(descriptor, select.EPOLLIN)
        for client in self._clients.values():
            self._watch(client)

    # Clients.

    def _watch(self, client: Client) -> None:
        mask = select.EPOLLIN if client.stdin and len(self._stdin_pending) < _READ else 0
        mask |= select.EPOLLOUT if client.pending else 0
        try:
            self._epoll.modify(client.fileno(), mask)
        except FileNotFoundError:
            self._epoll.register(client.fileno(), mask)

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

    def _feed(self) -> None:
        """Write pending input to the process; close its stdin behind the last byte when that was the end."""
        if self._stdin < 0:
            self._stdin_pending.clear()
            return
        try:
            while self._stdin_pending:
                written = os.write(self._stdin, self._stdin_pending[:_READ])
                del self._stdin_pending[:written]
        except BlockingIOError:
            self._watch_stdin(True)
            return
        except OSError:
            self._stdin_pending.clear()
            self._stdin_ending = self._terminal < 0
        self._watch_stdin(False)
        if self._stdin_ending and self._stdin != self._terminal:
            os.close(self._stdin)
            self._stdin = -1

    def _watch_stdin(self, wanted: bool) -> None:
        mask = (select.EPOLLIN if self._stdin in self._outputs and not self._paused else 0) | (select.EPOLLOUT if wanted else 0)
        try:
            self._epoll.modify(self._stdin, mask)
        except FileNotFoundError:
            if wanted:
                self._epoll.register(self._stdin, mask)
        else:
            if not mask:
                self._epoll.unregister(self._stdin)

    def _drop(self, client: Client) -> None:
        del self._clients[client.fileno()]
        try:
            self._epoll.unregister(client.fileno())
        except FileNotFoundError:
            pass
        client.close()

    # The daemon.

    def _accept(self) -> None:
        """A new daemon takes over from one that is gone."""
        accept: Any = self._listener
        connection, _ = accept._accept()
        if self._control is not None:
            self._close_control()
        self._control = _socket.socket(fileno=connection)
        self._epoll.register(connection, select.EPOLLIN)
        self.tell({"found": self._exit, **(self._identity() if self._exit is None else {})})

    def _receive_control(self) -> None:
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
            descriptors = array.array("i", ancillary[0][2])
            client = Client(descriptors[0], order["attach"])
            self._clients[client.fileno()] = client
            after_run = order["attach"]["past_after"]
            if after_run is not None and self._log is not None:
                client.send_past(self._log.past(after_run))
                client.flush()
            if self._birth.pid:
                self._read_client(client)
        elif "resize" in order and self._terminal >= 0:
            set_window_size(self._terminal, *order["resize"])
        elif "release" in order:
            self._released = True
            leave_scope(self._birth.context)

    def _close_control(self) -> None:
        if self._control is not None:
            try:
                self._epoll.unregister(self._control.fileno())
            except (FileNotFoundError, OSError):
                pass
            self._control.close()
            self._control = None

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to the daemon, if there is one."""
        if self._control is None:
            return
        try:
            _send(self._control, message)
        except OSError:
            self._close_control()

    # The end.

    def _reap(self) -> None:
        self._epoll.unregister(self._birth.pidfd)
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

    def _oom_killed(self) -> bool:
        """Whether the kernel killed for memory in the process's cgroup (memory.events, cgroup-v2)."""
        try:
            events = read_small_file(f"{self._request['cgroup']}/memory.events")
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in events.splitlines())

    def _end(self) -> None:
        for client in list(self._clients.values()):
            self._drop(client)
        if self._log is not None:
            self._log.close()
        endpoints.remove_socket(self._request["directory"])
        self._close()

    def _close(self) -> None:
        """Give back every descriptor: a shim's process ends with it, but not a rehearsal's."""
        self._close_control()
        self._listener.close()
        self._epoll.close()
        for descriptor in {self._birth.pidfd, self._stdin, *self._outputs}:
            if descriptor >= 0:
                os.close(descriptor)

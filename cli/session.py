"""The conversation with a container's streams: copy output, send input, forward signals, follow the terminal's size.

One loop in one thread waits for the connection, standard input and signals. The connection is never written to without room for
it: a container that stops reading until its output is taken would otherwise block both sides.

    signals ──(wakeup pipe)──┐
    standard input ──────────┤► poll ──► connection (input, half-closed at its end)
    connection ──────────────┘      ──► standard output and error
"""

from __future__ import annotations

import _signal
import os
import select

from docket.cli.errors import CliError, EngineError
from docket.cli.streams import Demultiplexer, Raw
from docket.cli.terminal import DetachFilter, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from docket.cli.client import Client, Query, Response
    from docket.cli.connect import Transport

# What a container may be told. Not the ones that the kernel sends for faults, that concern the CLI's own children, pipes and
# terminal (their defaults stay), or that cannot be caught.
_FORWARDED = (
    "HUP",
    "INT",
    "QUIT",
    "TERM",
    "USR1",
    "USR2",
    "CONT",
    "TSTP",
    "ALRM",
    "VTALRM",
    "PROF",
    "IO",
    "PWR",
    "XCPU",
    "XFSZ",
)
_INPUT_SIZE = 32768


class Signals:
    """Collects signals inside a `with` block. `forward` gets each one's name; a change of the terminal's size calls `resize`."""

    def __init__(self, forward: Callable[[str], None] | None, resize: Callable[[], None] | None) -> None:
        self._forward = forward
        self._resize = resize
        self._names: dict[int, str] = {}
        self._previous: dict[int, object] = {}
        self._reader = self._writer = -1
        self._waker = -1

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._waker = _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for name in _FORWARDED if self._forward else ():
            self._catch(name)
        if self._resize:
            self._catch("WINCH")
        return self

    def _catch(self, name: str) -> None:
        number = getattr(_signal, f"SIG{name}")
        self._names[number] = name
        self._previous[number] = _signal.signal(number, lambda *_: None)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            _signal.signal(number, handler)
        _signal.set_wakeup_fd(self._waker)
        os.close(self._reader)
        os.close(self._writer)

    def fileno(self) -> int:
        return self._reader

    def deliver(self) -> None:
        """Acts on the signals that have arrived."""
        try:
            numbers = os.read(self._reader, 256)
        except BlockingIOError:
            return
        for number in numbers:
            name = self._names.get(number)
            if name == "WINCH" and self._resize:
                self._resize()
            elif name and self._forward:
                self._forward(name)


class Session:
    """One attached stream, from the upgrade to its end."""

    def __init__(self, transport: Transport, early: bytes, tty: bool, interactive: bool, detach_keys: bytes = b"") -> None:
        self._transport = transport
        self._early = early
        self._output = Raw() if tty else Demultiplexer()
        self._reading = interactive
        self._closing = False
        self._pending = b""
        self._filter = DetachFilter(detach_keys) if tty and detach_keys else None

    def copy(self, signals: Signals) -> bool:
        """Copies both ways until the engine ends the stream; False when the user typed the detach keys."""
        if self._early:
            self._output.feed(self._early)
        if not self._reading:
            # Nothing will be sent: the other side may know at once.
            self._closing = True
            self._close_input()
        poll = select.poll()
        poll.register(signals.fileno(), select.POLLIN)
        connection = self._transport.fileno()
        while True:
            events = select.POLLIN | (select.POLLOUT if self._pending else 0)
            poll.register(connection, events)
            self._watch_input(poll)
            ready = dict(poll.poll(0 if self._transport.buffered() else None))
            if signals.fileno() in ready:
                signals.deliver()
            if 0 in ready and not self._read_input():
                self._transport.close()
                return False
            if self._pending and ready.get(connection, 0) & (select.POLLOUT | select.POLLERR | select.POLLHUP):
                self._send_pending()
            if (ready.get(connection, 0) & ~select.POLLOUT or self._transport.buffered()) and not self._read_output():
                self._transport.close()
                return True

    def _watch_input(self, poll: select.poll) -> None:
        """Standard input is read only while nothing waits to be sent."""
        try:
            if self._reading and not self._pending:
                poll.register(0, select.POLLIN)
            else:
                poll.unregister(0)
        except KeyError:
            pass

    def _read_input(self) -> bool:
        """Takes a piece of standard input; False when it completes the detach keys."""
        try:
            data = os.read(0, _INPUT_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            data = b""  # a terminal that hung up, or input that was never open
        if not data:
            self._reading = False
            self._closing = True
        elif self._filter is not None:
            data, detached = self._filter.feed(data)
            if detached:
                self._transport.try_send(data)  # what was typed before the keys
                return False
        self._pending += data
        self._send_pending()
        return True

    def _send_pending(self) -> None:
        try:
            while self._pending:
                sent = self._transport.try_send(self._pending)
                if sent == 0:
                    return
                self._pending = self._pending[sent:]
        except (BrokenPipeError, ConnectionResetError):
            # The container has gone; what it wrote before is still to be read.
            self._reading = False
            self._pending = b""
        self._close_input()

    def _close_input(self) -> None:
        if self._closing and not self._pending:
            self._closing = False
            self._transport.close_write()

    def _read_output(self) -> bool:
        try:
            data = self._transport.receive()
        except ConnectionResetError:
            return False
        self._output.feed(data)
        return bool(data)


def await_answer(response: Response, signals: Signals) -> None:
    """Waits until the answer's body arrives, while signals are still acted on."""
    if response.waiting():
        return
    poll = select.poll()
    poll.register(signals.fileno(), select.POLLIN)
    poll.register(response.fileno(), select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if signals.fileno() in ready:
            signals.deliver()
        if response.fileno() in ready:
            return


def killer(client: Client, container: str) -> Callable[[str], None]:
    """A forwarder of signals to a container. One that has just ended cannot take it, which is no error."""

    def forward(name: str) -> None:
        try:
            client.request("POST", f"/containers/{container}/kill", [("signal", name)]).read()
        except EngineError:
            return

    return forward


def resizer(client: Client, path: str) -> Callable[[], None]:
    """Tells the engine the terminal's size. It may be too early or too late for that, which is no error."""

    def resize() -> None:
        rows, columns = size()
        if rows == 0 and columns == 0:
            return
        query: Query = [("h", str(rows)), ("w", str(columns))]
        try:
            client.request("POST", f"{path}/resize", query).read()
        except EngineError:
            return

    return resize


def require_terminal(tty: bool, interactive: bool) -> None:
    """Docker's check: a terminal for the container needs a terminal on standard input."""
    if tty and interactive and not os.isatty(0):
        raise CliError("the input device is not a TTY")

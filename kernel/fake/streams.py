"""Standard streams between a modelled process, its output log and its clients: the shim's part of the model.

A `FakeEndpoint` is both ends of a client's connection: the port sees `docket.domain.ports.Endpoint`, the test sees what the
client would: bytes to send, a half-close, and the bytes that came.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from docket.domain.output_log import RUN_BEGINS
from docket.domain.ports import Attachment, LogEntry

_EOT = 4


class FakeEndpoint:
    """A client's connection in memory."""

    def __init__(self) -> None:
        self.received = bytearray()
        """Everything that the process's side wrote, framed as it came."""
        self.closed = False
        self._input: list[bytes] = []
        self._taker: Callable[[bytes], None] | None = None
        self._changed = trio.Event()
        self._taken = 0

    # What the port uses.

    def fileno(self) -> int:
        """No descriptor stands behind it."""
        return -1

    def close(self) -> None:
        """Close the connection; what was written can still be received."""
        self.closed = True
        self._wake()

    # What the client does.

    def send(self, data: bytes) -> None:
        """Send input; it waits here until the endpoint is attached."""
        self._push(data)

    def send_eof(self) -> None:
        """Close the client's sending side."""
        self._push(b"")

    async def receive_some(self) -> bytes:
        """What came since the last call; waits for something; empty at the end."""
        while self._taken == len(self.received) and not self.closed:
            await self._changed.wait()
        data = bytes(self.received[self._taken :])
        self._taken = len(self.received)
        return data

    async def receive_all(self) -> bytes:
        """Everything until the connection is closed."""
        chunks = []
        while chunk := await self.receive_some():
            chunks.append(chunk)
        return b"".join(chunks)

    # What the shim does.

    def deliver(self, data: bytes) -> None:
        """Output for the client."""
        self.received += data
        self._wake()

    def take_input(self, taker: Callable[[bytes], None]) -> None:
        """Give the client's input to ``taker``, what already came first; empty bytes are the end."""
        self._taker = taker
        waiting, self._input = self._input, []
        for data in waiting:
            self._push(data)

    def _push(self, data: bytes) -> None:
        if self._taker is None:
            self._input.append(data)
        elif not self.closed:
            self._taker(data)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class _Client:
    """One attachment, and how far its input has matched the detach keys."""

    def __init__(self, attachment: Attachment, endpoint: FakeEndpoint) -> None:
        self.endpoint = endpoint
        self.attachment = attachment
        self._matched = b""

    def deliver(self, stream: int, data: bytes) -> None:
        """Give the client a piece of output, if it wants that stream."""
        if self.attachment.stdout if stream == 1 else self.attachment.stderr:
            header = bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") if self.attachment.multiplexed else b""
            self.endpoint.deliver(header + data)

    def undetached(self, data: bytes) -> tuple[bytes, bool]:
        """``(input to pass on, whether the detach keys are complete)``."""
        keys = self.attachment.detach_keys
        passed = b""
        for byte in data:
            self._matched += bytes((byte,))
            while not keys.startswith(self._matched):
                passed, self._matched = passed + self._matched[:1], self._matched[1:]
            if keys and self._matched == keys:
                return passed, True
        return passed, False


class Streams:
    """The standard streams of one process. ``write_log`` keeps output, given stream and data."""

    def __init__(
        self,
        *,
        terminal: bool,
        stdin: bool,
        stdin_once: bool,
        write_log: Callable[[int, bytes], None] | None = None,
        past: Callable[[], list[LogEntry]] = list,
    ) -> None:
        self.terminal = terminal
        self.rows = 0
        self.columns = 0
        self._stdin_once = stdin_once
        self._write_log = write_log
        self._past = past
        self._clients: list[_Client] = []
        self._input = bytearray()
        self._ended = not (stdin or terminal)
        self._changed = trio.Event()

    @property
    def clients(self) -> int:
        """How many clients are attached."""
        return len(self._clients)

    def attach(self, attachment: Attachment) -> None:
        """Add a client."""
        endpoint = attachment.endpoint
        assert isinstance(endpoint, FakeEndpoint)
        client = _Client(attachment, endpoint)
        self._clients.append(client)
        if attachment.past_after is not None:
            self._tell_past(client, attachment.past_after)
        if attachment.stdin:
            if attachment.early:
                self._receive(client, attachment.early)
            endpoint.take_input(lambda data: self._receive(client, data))

    def _tell_past(self, client: _Client, after_run: int) -> None:
        shown = after_run < 0
        for entry in self._past():
            if entry.stream == RUN_BEGINS:
                shown = shown or int.from_bytes(entry.data, "big") > after_run
            elif shown:
                client.deliver(entry.stream, entry.data)

    def write(self, stream: int, data: bytes) -> None:
        """Output of the process. A terminal has one stream only, and ends lines with CR LF."""
        if not data:
            return
        if self.terminal:
            stream, data = 1, data.replace(b"\n", b"\r\n")
        if self._write_log is not None:
            self._write_log(stream, data)
        for client in [client for client in self._clients if not client.endpoint.closed]:
            client.deliver(stream, data)

    async def read(self) -> bytes:
        """Input for the process: what there is, waiting for something; empty at the end."""
        while not self._input and not self._ended:
            await self._changed.wait()
        data = bytes(self._input)
        self._input.clear()
        return data

    def close(self) -> None:
        """Let all clients go."""
        for client in self._clients:
            client.endpoint.close()
        self._clients.clear()

    def _receive(self, client: _Client, data: bytes) -> None:
        if not data:
            self._ended = self._ended or (self._stdin_once and not self.terminal)
        passed, detached = client.undetached(data)
        if self.terminal:
            passed = self._typed(passed)
        if not self._ended or self.terminal:
            self._input += passed
        if detached:
            self._clients.remove(client)
            client.endpoint.close()
        self._changed.set()
        self._changed = trio.Event()

    def _typed(self, data: bytes) -> bytes:
        """A terminal's line discipline: CR becomes LF, input is echoed, and ^D at the start of a line is the end."""
        data = data.replace(b"\r", b"\n")
        if data[:1] == bytes((_EOT,)):
            self._ended = True
            return b""
        self.write(1, data)
        return data

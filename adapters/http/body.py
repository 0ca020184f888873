"""Reading request bodies: by length straight from the socket, or in chunks through h11.

h11 copies every byte of a body twice; a length needs no parser, so those bytes never enter it. Chunked bodies do, with two of its
kindnesses taken back: trailers, and a bare line feed at the end (S38).
"""

from collections.abc import Awaitable, Callable

import h11

from docket.adapters.http.errors import MalformedRequest
from docket.adapters.http.head import Framing

RECEIVE_BYTES = 256 * 1024

Receive = Callable[[int], Awaitable[bytes]]


class BodyReader:
    """The body of one request. `buffer` holds what has arrived already, and what is left over at the end.

    `head` are the bytes of its header, from which h11 learns that chunks follow.
    """

    def __init__(self, head: bytes, framing: Framing, buffer: bytearray, receive: Receive) -> None:
        self._head = head
        self._parser: h11.Connection | None = None
        self._buffer = buffer
        self._receive = receive
        self.chunked = framing.chunked
        self.remaining = framing.length
        self.finished = not framing.chunked and framing.length == 0
        self._last_bytes = b""

    async def read_some(self) -> bytes:
        """The next bytes of the body, `b""` at its end; raises MalformedRequest when it is cut short or badly framed."""
        if self.finished:
            return b""
        data = await (self._read_chunked() if self.chunked else self._read_length())
        self.finished = not data or (not self.chunked and self.remaining == 0)
        return data

    async def _read_length(self) -> bytes:
        wanted = min(self.remaining, RECEIVE_BYTES)
        data = self._take(wanted) if self._buffer else await self._receive(wanted)
        if not data:
            raise _cut_short()
        self.remaining -= len(data)
        return data

    async def _read_chunked(self) -> bytes:
        if self._parser is None:
            self._parser = h11.Connection(h11.SERVER)
            self._parser.receive_data(self._head)
        while True:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                raise MalformedRequest(f"malformed request body: {error}") from None
            if isinstance(event, h11.Request):
                continue
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self._finish_chunks(event, self._parser.trailing_data[0])
                return b""
            data = self._take(RECEIVE_BYTES) if self._buffer else await self._receive(RECEIVE_BYTES)
            if not data:
                raise _cut_short()
            self._last_bytes = (self._last_bytes + data)[-len(data) - 4 :]
            self._parser.receive_data(data)

    def _finish_chunks(self, event: h11.EndOfMessage, left_over: bytes) -> None:
        """Take back what h11 did not use, and insist on the plain ending."""
        consumed = self._last_bytes[: len(self._last_bytes) - len(left_over)]
        if list(event.headers) or not consumed.endswith(b"\r\n\r\n"):
            raise MalformedRequest("malformed request body: trailers or a bare line feed after the last chunk")
        self._buffer[:0] = left_over

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data


def _cut_short() -> MalformedRequest:
    return MalformedRequest("request body ended before its announced length")

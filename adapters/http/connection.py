"""One connection: requests are read from it, answers written to it, and a handler may take it over.

Its rules: bytes are taken from the socket only up to the end of the request being read, so what follows (a next request, or early
input of a hijacked stream) lies in one buffer; and whenever it is unclear where the next request would begin, the connection is
closed after the answer instead of being reused.
"""

from collections.abc import AsyncIterator

import trio

from docket.adapters.http import eager
from docket.adapters.http.body import BodyReader
from docket.adapters.http.errors import MalformedRequest
from docket.adapters.http.head import HEAD_END, Framing, check_unfinished, parse_head, split_target
from docket.adapters.http.hijack import AnyStream, Hijacked, transport_socket, wait_header_read
from docket.adapters.http.limits import Limits
from docket.adapters.http.peer import Peer
from docket.adapters.http.request import Request, body_too_large
from docket.adapters.http.response import HeaderList, Response, Stream
from docket.adapters.http.wire import CONTINUE, BodyFraming, hijack_head, linger

_RECEIVE_BYTES = 64 * 1024


class Connection:
    """The reading and writing of HTTP on one stream; `torn` means that a message was written only in part."""

    def __init__(self, stream: AnyStream, peer: Peer, limits: Limits, common_fields: bytes = b"") -> None:
        self.stream = stream
        self.peer = peer
        self.closing = False
        self.torn = False
        self._limits = limits
        self._common_fields = common_fields
        self._buffer = bytearray()
        self._body = BodyReader(b"", Framing(), self._buffer, self.receive)
        self._is_head = False
        self._is_http10 = False
        self._expects_continue = False
        self._waiting: trio.CancelScope | None = None
        self._plain = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._has_yielded = True

    async def receive(self, max_bytes: int) -> bytes:
        """The next bytes from the client, `b""` at its end of input."""
        return bytes(await self.stream.receive_some(max_bytes))

    async def _receive_head_bytes(self) -> bytes:
        if self._plain is None:
            return await self.receive(_RECEIVE_BYTES)
        data, waited = await eager.receive_some(self._plain, _RECEIVE_BYTES)
        self._has_yielded = self._has_yielded or waited
        return data

    # Reading

    async def next_request(self) -> Request | None:
        """The next request, None when the client or the idle time ended the connection; raises MalformedRequest."""
        self._is_head = self._is_http10 = self._expects_continue = False
        if not self._has_yielded:
            await trio.lowlevel.checkpoint()  # a client that sends request upon request must not keep the others waiting
        self._has_yielded = False
        data = await self._read_head()
        if data is None:
            return None
        head = parse_head(data, self._limits.header_count)
        self._body = BodyReader(data, head.framing, self._buffer, self.receive)
        self._is_head, self._is_http10 = head.method == "HEAD", head.is_http10
        self._expects_continue = not head.is_http10 and head.has_option("expect", "100-continue")
        self.closing = self.closing or head.is_http10 or head.has_option("connection", "close")
        path, query_string = split_target(head.target)
        return Request(
            self,
            method=head.method,
            target=head.target,
            path=path,
            query_string=query_string,
            headers=head.headers,
            peer=self.peer,
        )

    async def _read_head(self) -> bytes | None:
        limits, buffer, now = self._limits, self._buffer, trio.current_time()
        with trio.CancelScope(deadline=now + (limits.header_seconds if buffer else limits.idle_seconds)) as scope:
            self._waiting = None if buffer else scope
            try:
                return await self._receive_head(scope)
            finally:
                self._waiting = None
        if buffer:
            raise MalformedRequest(f"request header did not arrive within {limits.header_seconds:g} s", 408)
        return None

    async def _receive_head(self, scope: trio.CancelScope) -> bytes | None:
        limits, buffer, searched = self._limits, self._buffer, 0
        while (end := buffer.find(HEAD_END, max(0, searched - 3), limits.head_bytes)) < 0:
            check_unfinished(buffer, max(0, searched - 1))
            if len(buffer) >= limits.head_bytes:
                raise MalformedRequest(f"request header is longer than {limits.head_bytes} bytes", 431)
            searched = len(buffer)
            data = await self._receive_head_bytes()
            if not data:
                if buffer:
                    raise MalformedRequest("connection ended inside a request header")
                return None
            if not buffer:
                self._waiting = None
                scope.deadline = trio.current_time() + limits.header_seconds
            buffer += data
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        return head

    def stop_waiting(self) -> None:
        """End the wait for a next request, if that is what this connection does."""
        if self._waiting is not None:
            self._waiting.cancel()

    # The body: the source of `Request.body()` and its kin

    @property
    def body_length(self) -> int | None:
        """The announced length of what is left of the body; None when it is chunked."""
        return None if self._body.chunked else self._body.remaining

    async def read_body(self, limit: int | None) -> bytes:
        """All of the body; HttpError 413 before the first byte where the length tells, else once the cap is passed."""
        chunks: list[bytes] = []
        if self._body.finished:
            return b""
        if limit is not None and (self.body_length or 0) > limit:
            raise body_too_large(limit)
        await self._continue()
        total = 0
        with trio.CancelScope() as scope:
            while not self._body.finished:
                scope.deadline = trio.current_time() + self._limits.body_pause_seconds
                chunks.append(await self._body.read_some())
                total += len(chunks[-1])
                if limit is not None and total > limit:
                    raise body_too_large(limit)
        if scope.cancelled_caught:
            raise MalformedRequest(f"request body paused for {self._limits.body_pause_seconds:g} s", 408)
        return b"".join(chunks)

    async def body_chunks(self) -> AsyncIterator[bytes]:
        """What is left of the body, as it arrives."""
        if not self._body.finished:
            await self._continue()
        while data := await self._body.read_some():
            yield data

    async def _continue(self) -> None:
        """Ask for the body, if the client waits to be asked."""
        if self._expects_continue:
            self._expects_continue = False
            await self.send(CONTINUE)

    def _drainable(self) -> bool:
        """Whether the rest of the body is known to be short enough to be read and dropped."""
        body = self._body
        if body.finished:
            return True
        return not body.chunked and body.remaining <= self._limits.drain_bytes and not self._expects_continue

    # Writing

    async def send(self, data: bytes) -> None:
        """Send all of `data`; a send that does not finish leaves the connection torn."""
        if self.torn:
            raise trio.BrokenResourceError("an earlier message was not sent whole")
        self.torn = True
        sent = 0 if self._plain is None else eager.send_now(self._plain, data)
        if sent < len(data):
            await self.stream.send_all(data[sent:])
        self.torn = False

    def start_answer(self, answer: Response | Stream, length: int | None) -> tuple[BodyFraming, bytes]:
        """The framing and the header of an answer; decides whether the connection lives on. Raises ValueError."""
        self.closing = self.closing or not self._drainable()
        framing = BodyFraming(answer.status, length, is_head=self._is_head, is_http10=self._is_http10)
        return framing, framing.head(self._common_fields, answer.headers, answer.content_type, self.closing)

    async def respond(self, response: Response) -> None:
        """Send a whole answer; raises ValueError, before anything is sent, for a field that cannot be."""
        framing, head = self.start_answer(response, len(response.body))
        await self.send(head + response.body if framing.has_body else head)

    async def finish(self) -> bool:
        """After an answer: make the connection ready for the next request; False when there cannot be one."""
        if self.closing or self.torn:
            return False
        try:
            with trio.move_on_after(self._limits.linger_seconds):
                while not self._body.finished:
                    await self._body.read_some()
        except MalformedRequest:
            return False  # cut short, or badly framed: it has its answer, and nothing can follow
        return self._body.finished

    # The end

    async def hijack(self, upgrade: bool, content_type: str, headers: HeaderList) -> Hijacked:
        """Send the header on its own and leave HTTP."""
        if not self._body.finished:
            raise RuntimeError("the request body must be read before the connection is hijacked")
        head = hijack_head(upgrade, content_type, headers)
        hijacked = Hijacked(self.stream, bytes(self._buffer), self.peer)
        self._buffer.clear()
        self.closing = True
        await self.send(head)
        await wait_header_read(transport_socket(self.stream))
        return hijacked

    async def close_gently(self) -> None:
        """End our direction and read on a little, so that nothing unread turns into a reset that eats our last bytes."""
        if not self.torn:
            await linger(self.stream, self._limits.linger_seconds)

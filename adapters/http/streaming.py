"""Sending a `Stream`: its header at once, its chunks as they come, and an end that tells whether it was whole.

A stream that fails, or whose client goes away, ends without the final chunk; one that an ending server stops ends with it.
"""

import trio

from docket.adapters.http.connection import Connection
from docket.adapters.http.hijack import transport_socket, wait_gone
from docket.adapters.http.response import Stream
from docket.adapters.http.wire import BodyFraming


class _Sender:
    """`StreamSender` over one connection."""

    def __init__(self, connection: Connection, framing: BodyFraming) -> None:
        self._connection = connection
        self._framing = framing
        self._lock = trio.Lock()

    async def send(self, data: bytes) -> None:
        if not data:
            await trio.lowlevel.checkpoint()
            return
        async with self._lock:
            await self._connection.send(self._framing.frame(data))


async def send_stream(connection: Connection, stream: Stream, draining: trio.Event) -> None:
    """Run `stream.write` to its end, to the client's end, or (if endless) to the server's; its exceptions are raised."""
    framing, head = connection.start_answer(stream, stream.length)
    await connection.send(head)
    if framing.has_body and not await _write(connection, stream, framing, draining):
        _cut(connection)
    elif not connection.torn:
        try:
            end = framing.end()
        except ValueError:
            _cut(connection)
            raise
        await connection.send(end)


def _cut(connection: Connection) -> None:
    """Let nothing follow on this connection, not even an error answer: the client would take it for the body."""
    connection.closing = connection.torn = True


async def _write(connection: Connection, stream: Stream, framing: BodyFraming, draining: trio.Event) -> bool:
    """Whether the stream came to its proper end."""
    failure: Exception | None = None
    gone = False

    async def watch_client(scope: trio.CancelScope) -> None:
        nonlocal gone
        await wait_gone(transport_socket(connection.stream))
        gone = True
        scope.cancel()

    async def watch_server(scope: trio.CancelScope) -> None:
        await draining.wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_client, nursery.cancel_scope)
        if stream.endless:
            nursery.start_soon(watch_server, nursery.cancel_scope)
        try:
            await stream.write(_Sender(connection, framing))
        except Exception as error:
            # Kept out of the nursery, which would wrap it into a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        _cut(connection)
        raise failure
    return not gone

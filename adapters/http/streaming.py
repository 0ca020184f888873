"""Sending a `Stream`: its header at once, its chunks as they come, and an end that tells whether it was whole.

A stream that fails, or whose client goes away, ends without the final chunk; one that an ending server stops ends with it.
"""

import h11
import trio

from docket.adapters.http.connection import Connection
from docket.adapters.http.hijack import transport_socket, wait_gone
from docket.adapters.http.response import Stream


class _Sender:
    """`StreamSender` over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = trio.Lock()

    async def send(self, data: bytes) -> None:
        if not data:
            await trio.lowlevel.checkpoint()
            return
        async with self._lock:
            await self._connection.send(self._connection.h11.send(h11.Data(data=data)))


async def send_stream(connection: Connection, stream: Stream, draining: trio.Event) -> None:
    """Run `stream.write` to its end, to the client's end, or (if endless) to the server's; its exceptions are raised."""
    await connection.send(connection.start_answer(stream.status, stream.headers, stream.content_type, None))
    if not connection.is_head and not await _write(connection, stream, draining):
        connection.closing = connection.torn = True
        return
    if not connection.torn:
        await connection.send(connection.h11.send(h11.EndOfMessage()))


async def _write(connection: Connection, stream: Stream, draining: trio.Event) -> bool:
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
            await stream.write(_Sender(connection))
        except Exception as error:
            # Kept out of the nursery, which would wrap it into a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        connection.closing = connection.torn = True
        raise failure
    return not gone

"""Connections taken over for attach and exec: after the header, bytes both ways and no HTTP any more.

Three rules that clients depend on. EOF on reading is the end of *stdin*: the client goes on reading. A client that is gone shows as
a hang-up of the socket, which `wait_gone` waits for. And the connection ends only when all output is out.
"""

import fcntl
import select
import socket
import struct
import termios
from typing import Protocol

import trio

from docket.adapters.http.peer import Peer

AnyStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

RAW_STREAM = "application/vnd.docker.raw-stream"
_HEADER_READ_SECONDS = 0.25
_HEADER_GRACE_SECONDS = 0.005


class HijackedStream(trio.abc.HalfCloseableStream):
    """The raw connection; reading yields nothing that is in `Hijacked.early`."""

    def __init__(self, stream: AnyStream) -> None:
        self._stream: AnyStream | None = stream

    def _open(self) -> AnyStream:
        if self._stream is None:
            raise trio.ClosedResourceError("the connection has been detached")
        return self._stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes from the client; `b""` means that it has ended its input, not that it has gone."""
        return bytes(await self._open().receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; raises trio.BrokenResourceError when the client has gone."""
        await self._open().send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Return when the client reads again."""
        await self._open().wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End our direction. TLS has no half-close that trio offers, so there it is left to the end of the connection."""
        stream = self._open()
        if isinstance(stream, trio.SocketStream):
            await stream.send_eof()

    async def aclose(self) -> None:
        """Close both directions at once; the server does this when the handler returns, after all output is out."""
        await self._open().aclose()

    def release(self) -> socket.socket | None:
        """Take the socket out of this object, if it is a plain one."""
        stream = self._open()
        if not isinstance(stream, trio.SocketStream):
            return None
        self._stream = None
        return socket.socket(fileno=stream.socket.detach())


class Hijacked:
    """A connection whose header is out; `early` came from the client together with its request."""

    def __init__(self, stream: AnyStream, early: bytes, peer: Peer) -> None:
        self.early = early
        self.stream = HijackedStream(stream)
        self.peer = peer
        self.detached = False
        self._socket = transport_socket(stream)

    def detach(self) -> socket.socket | None:
        """Give the raw unix or TCP socket away, for good; None on TLS.

        The socket is non-blocking, and that belongs to the connection, not to the descriptor: whoever receives it has to cope. Pass
        `early` along with it. The server closes nothing and shuts nothing down; the caller closes its copy.
        """
        given = self.stream.release()
        self.detached = given is not None
        return given

    async def wait_gone(self) -> None:
        """Return when the client is gone altogether."""
        await wait_gone(self._socket)


def transport_socket(stream: AnyStream) -> trio.socket.SocketType:
    """The socket below a plain or a TLS stream."""
    return stream.socket if isinstance(stream, trio.SocketStream) else stream.transport_stream.socket


class HasDescriptor(Protocol):
    """A socket of whatever kind."""

    def fileno(self) -> int: ...


async def wait_gone(sock: HasDescriptor) -> None:
    """Return when the other end of `sock` has hung up, without reading and without mistaking a half-close for it.

    A set of no events still reports EPOLLHUP and EPOLLERR. On a unix socket that is the client's close(), at once. On TCP a close()
    looks like a half-close until something is sent to it: keep-alive probes do so, and are answered by a reset once the client's
    kernel has forgotten the connection (about a minute).
    """
    with select.epoll(1) as poller:
        poller.register(sock.fileno(), 0)
        await trio.lowlevel.wait_readable(poller.fileno())


async def wait_header_read(sock: trio.socket.SocketType) -> None:
    """Give the client time to read a header alone, because docker-py drops what it receives together with it.

    On a unix socket SIOCOUTQ counts what the client has not read, so this ends as soon as it has. On TCP it counts what the other
    kernel has not acknowledged, which says nothing about the client; there a short grace must do.
    """
    if sock.family != socket.AF_UNIX:
        await trio.sleep(_HEADER_GRACE_SECONDS)
        return
    pause = 0.0002
    deadline = trio.current_time() + _HEADER_READ_SECONDS
    while _unread_bytes(sock) and trio.current_time() < deadline:
        await trio.sleep(pause)
        pause *= 1.5


def _unread_bytes(sock: trio.socket.SocketType) -> int:
    """What the other end has not taken yet (SIOCOUTQ, the same number as TIOCOUTQ; unix(7))."""
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, struct.pack("=i", 0))
    return int(struct.unpack("=i", answer)[0])

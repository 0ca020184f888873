"""Connections for `client`: a name is resolved once, each address is checked, and that very address is connected to (S28).

So a name whose answer changes between the check and the connection leads nowhere else. Through a proxy, the proxy is what is
connected to, and it resolves names itself: the proxy is the operator's.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2
import trio

Check = Callable[[str, int, str], None]
"""Host, port and address; raises `RegistryError` when they must not be connected to."""


READ_BYTES = 512 * 1024
"""Taken from a socket at once. httpcore asks for 64 KiB: each piece costs the event loop a round, and the thread that unpacks
what came before the interpreter's lock."""


class WideStream(httpcore2.AsyncNetworkStream):
    """A connection that is read in larger pieces than it is asked for."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max(max_bytes, READ_BYTES), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """What is encrypted comes in records of 16 KiB, whatever is asked for."""
        return await self._stream.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class Connector(httpcore2.AsyncNetworkBackend):
    """The network as the pool of one kind of target sees it."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._plain = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Tries the name's addresses one after the other. Raises `RegistryError` for one that is not allowed."""
        failure: Exception | None = None
        for address in await addresses_of(host, port):
            self._check(host, port, address)
            try:
                return WideStream(await self._plain.connect_tcp(address, port, timeout, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = httpcore2.ConnectError(f"dial tcp {_shown(address, port)}: {_why(error)}")
        raise failure or httpcore2.ConnectError(f"dial tcp: lookup {host}: no such host")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


async def addresses_of(host: str, port: int) -> list[str]:
    """The host's addresses, in the system's order. Raises httpcore2.ConnectError."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(f"dial tcp: lookup {host}: no such host") from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _why(error: Exception) -> str:
    if isinstance(error, httpcore2.ConnectTimeout):
        return "i/o timeout"
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        if isinstance(inner, OSError) and inner.errno is not None:
            name = "connection refused" if inner.errno == errno.ECONNREFUSED else os.strerror(inner.errno).lower()
            return f"connect: {name}"
        inner = inner.__cause__
    return str(error)

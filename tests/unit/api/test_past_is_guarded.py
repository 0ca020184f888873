"""Whoever may not see the present does not see the past either (S59): both go through the same gate of the same server."""

from __future__ import annotations

import re
import sys
from unittest.mock import MagicMock

import pytest
import trio

from docket.adapters.api.routes import router
from docket.adapters.http import Request, Response, Route, Router, Server, open_listeners

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the listeners of Unix")

ROUTES = list(router(MagicMock(), MagicMock()).routes)
STRANGERS = (b"Host: localhost\r\nOrigin: http://evil.example\r\n", b"Host: evil.example\r\n")


async def status_of(port: int, route: Route, path: str, fields: bytes) -> int:
    """The status of one request."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"{route.method} {path} HTTP/1.1\r\n".encode() + fields + b"Connection: close\r\n\r\n")
        answer = bytes(await stream.receive_some(4096))
    return int(answer.split(b" ", 2)[1])


async def test_s59_every_route_refuses_the_same_strangers(nursery: trio.Nursery) -> None:
    """Live and past alike, with `at` and without, before its handler runs; the same request of a friend reaches it."""
    reached: list[str] = []

    async def handler(request: Request) -> Response:
        reached.append(request.path)
        return Response.text("shown")

    server = Server(Router([Route(each.method, each.template, handler) for each in ROUTES]), on_error=lambda error: None)
    listeners = open_listeners("tcp://127.0.0.1:0", insecure_tcp=True)
    await nursery.start(server.serve, listeners)
    port = int(listeners[0].address.rpartition(":")[2])
    assert any(route.template.startswith("/docket/log") for route in ROUTES)
    for route in ROUTES:
        path = re.sub(r"\{[^}]*\}", "name", route.template)
        for asked in (path, f"{path}?at=1"):
            for fields in STRANGERS:
                assert await status_of(port, route, asked, fields) == 403, asked
            assert reached == []
        assert await status_of(port, route, path, b"Host: localhost\r\n") == 200
        assert reached == [path]
        reached.clear()
    nursery.cancel_scope.cancel()

"""HTTP heads, bodies and chunking: what the server takes for a request is what another parser takes for it, and no more (S38).

The bytes are one connection's input, which comes in pieces of odd sizes. Every request that the server hands to its router must be
the next one that h11 reads there, with the same body; nothing may be answered with a 500 or reach the log.
"""

from __future__ import annotations

import zlib
from typing import Any

import h11
import trio
import trio.testing
from tests.fuzz.mutation import Mixer, mutate_bytes, mutate_lines
from tests.fuzz.targets import Target

from docket.adapters.http import HttpError, Request, Response, Route, Router, Server
from docket.adapters.http.connection import Connection
from docket.adapters.http.limits import Limits
from docket.adapters.http.peer import Peer
from docket.adapters.http.routing import Match

_LIMIT = 4096
_HOST = b"Host: docket\r\n"
_SEEDS = (
    b"GET /_ping HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /v1.50/containers/a%2Fb/json?all=1&filters=%7B%7D HTTP/1.1\r\n" + _HOST + b"\r\n" * 1,
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST /a HTTP/1.1\r\n" + _HOST + b"Content-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"POST /a HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    b"GET /b HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"POST /large HTTP/1.1\r\n" + _HOST + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000,
    b"POST /a HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\nA;name=value\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
    b"POST /j HTTP/1.1\r\n" + _HOST + b'Connection: close, Upgrade\r\nUpgrade: tcp\r\nContent-Length: 7\r\n\r\n{"a":1}',
)


class _Catch:
    """A router that takes every request, and remembers it."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []
        self._routes = (Route("", "", self.small, _LIMIT), Route("", "", self.stream, None), Route("", "", self.json, _LIMIT))
        self._real = Router(
            [Route("GET", "/containers/{id}/json", self.small), Route("POST", "/images/{name:path}/tag", self.small)]
        )

    def match(self, method: str, path: str) -> Match:
        self.seen.append([method, None])
        try:
            self._real.match(method, path)
        except HttpError as error:
            assert error.status in (400, 404), error
        return Match(self._routes[len(path) % 3], path, {}, (1, 50))

    async def small(self, request: Request) -> Response:
        self.seen[-1] = [request.method, request.target, await request.body()]
        request.query.names()
        return Response.text("ok")

    async def stream(self, request: Request) -> Response:
        body = b"".join([piece async for piece in request.body_stream()])
        self.seen[-1] = [request.method, request.target, body]
        return Response.empty()

    async def json(self, request: Request) -> Response:
        self.seen[-1] = [request.method, request.target, await request.body()]
        return Response.json(await request.json(optional=True))


class _Wire:
    """The client's side: input in pieces, and what was answered."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._size = 1 + zlib.crc32(data) % 97 if len(data) < 4096 else 1 + zlib.crc32(data) % 4096
        self.sent = bytearray()

    async def receive_some(self, most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        count = min(most, self._size)
        piece, self._data = self._data[:count], self._data[count:]
        return piece

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def unwrap(self) -> None:
        await trio.lowlevel.checkpoint()


class _Listener:
    is_tcp = False


def _run(data: bytes) -> None:
    catch, wire, logged = _Catch(), _Wire(data), []
    server = Server(catch, log=logged.append)  # type: ignore[arg-type]
    connection = Connection(wire, Peer("unix", uid=0, gid=0, pid=1), Limits())  # type: ignore[arg-type]
    trio.run(server._talk, connection, _Listener(), None, clock=trio.testing.MockClock(autojump_threshold=0))
    assert logged == [], logged
    assert b"HTTP/1.1 500" not in wire.sent, bytes(wire.sent)
    expected = _by_h11(data)
    for number, seen in enumerate(catch.seen):
        assert number < len(expected), f"request {number + 1} is none to h11: {seen}"
        if seen[1] is not None:
            assert seen == expected[number], f"read as {seen}, by h11 as {expected[number]}"


def _by_h11(data: bytes) -> list[list[Any]]:
    """Every request that h11 reads, the last one perhaps without its whole body."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    parser.receive_data(data)
    parser.receive_data(b"")
    found: list[list[Any]] = []
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                found.append([event.method.decode("latin-1"), event.target.decode("latin-1"), b""])
            elif isinstance(event, h11.Data):
                found[-1][2] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                parser.send(h11.EndOfMessage())
                parser.start_next_cycle()
            else:
                return found
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return found


def _mutate(mixer: Mixer, data: bytes) -> bytes:
    return mutate_lines(mixer, data) if mixer.dice.random() < 0.3 else mutate_bytes(mixer, data)


TARGETS = {"http": Target("http", ("adapters/http/",), lambda: list(_SEEDS), _run, _mutate)}

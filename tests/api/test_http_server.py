"""The HTTP server over real sockets: keep-alive, bodies, streams, hijacked connections, and everything that must not work."""

import itertools
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docket.adapters.http import (
    Answer,
    Hijacked,
    HttpError,
    Limits,
    Request,
    Response,
    Route,
    Router,
    Server,
    Stream,
    StreamSender,
    TlsConfig,
    open_listeners,
)

RAW = "application/vnd.docker.raw-stream"
NUMBERS = itertools.count()
UPGRADE = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"


class App:
    """Handlers that note what reached them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.log: list[str] = []
        self.seen: list[object] = []
        self.ended = trio.Event()
        self.started = trio.Event()
        self.on_hijack: Callable[[Hijacked], Awaitable[None]] | None = None
        self.write: Callable[[StreamSender], Awaitable[None]] | None = None
        self.limits = Limits(linger_seconds=0.5)

    def server(self) -> Server:
        routes = [
            Route("GET", "/_ping", self.ping),
            Route("HEAD", "/_ping", self.ping),
            Route("GET", "/smuggled", self.smuggled),
            Route("POST", "/echo", self.echo),
            Route("POST", "/small", self.echo, body_limit=10),
            Route("POST", "/json", self.json),
            Route("POST", "/upload", self.upload, body_limit=None),
            Route("POST", "/ignore", self.ping, body_limit=None),
            Route("GET", "/crash", self.crash),
            Route("GET", "/teapot", self.teapot),
            Route("GET", "/actor", self.actor),
            Route("GET", "/stream", self.stream),
            Route("HEAD", "/stream", self.stream),
            Route("GET", "/endless", self.endless),
            Route("GET", "/file", self.file),
            Route("GET", "/badheader", self.bad_header),
            Route("GET", "/nothing", self.nothing),
            Route("POST", "/attach", self.attach),
            Route("DELETE", "/things/{id}", self.delete),
        ]
        return Server(
            Router(routes),
            on_error=self.map_error,
            default_headers=[("Api-Version", "1.50")],
            server_header="docket/0.1.0",
            log=self.log.append,
            limits=self.limits,
        )

    @staticmethod
    def map_error(error: Exception) -> Response | None:
        return Response.error(418, str(error)) if isinstance(error, KeyError) else None

    async def ping(self, request: Request) -> Response:
        self.calls.append(request.path)
        return Response.text("OK")

    async def smuggled(self, request: Request) -> Response:
        self.calls.append("smuggled")
        return Response.text("smuggled")

    async def echo(self, request: Request) -> Response:
        self.calls.append("echo")
        return Response(200, await request.body(), content_type="application/octet-stream")

    async def json(self, request: Request) -> Response:
        return Response.json({"got": await request.json(optional=request.query.boolean("optional"))})

    async def upload(self, request: Request) -> Response:
        total = 0
        async for chunk in request.body_stream():
            total += len(chunk)
        return Response.json({"bytes": total})

    async def crash(self, request: Request) -> Response:
        raise ZeroDivisionError("no luck\nat all")

    async def teapot(self, request: Request) -> Response:
        async with trio.open_nursery():
            raise KeyError("teapot")

    async def actor(self, request: Request) -> Response:
        return Response.text(request.peer.actor)

    async def stream(self, request: Request) -> Stream:
        async def write(out: StreamSender) -> None:
            self.started.set()
            try:
                assert self.write is not None
                await self.write(out)
            finally:
                self.ended.set()

        return Stream(write)

    async def endless(self, request: Request) -> Stream:
        answer = await self.stream(request)
        answer.endless = True
        return answer

    async def file(self, request: Request) -> Stream:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"abc"
            yield b"def"

        answer = Stream.of(chunks(), content_type="application/x-tar")
        answer.length = request.query.integer("length")
        return answer

    async def bad_header(self, request: Request) -> Response:
        return Response.text("x", headers=[("X-Evil", "a\r\nB: c")])

    async def nothing(self, request: Request) -> Answer:
        return None

    async def attach(self, request: Request) -> None:
        hijacked = await request.hijack(RAW)
        assert self.on_hijack is not None
        await self.on_hijack(hijacked)

    async def delete(self, request: Request) -> Response:
        self.seen.append((request.parameters, request.api_version, request.query.boolean("force")))
        return Response.empty()


@pytest.fixture
async def app() -> App:
    return App()


Start = Callable[..., Awaitable[tuple[Server, str]]]


async def start_app(app: App, nursery: trio.Nursery, address: str, **options: object) -> tuple[Server, str]:
    server = app.server()
    listeners = open_listeners(address, **options)  # type: ignore[arg-type]
    await nursery.start(server.serve, listeners)
    return server, listeners[0].address


@pytest.fixture
async def start(app: App, tmp_path: Path, nursery: trio.Nursery) -> Start:
    """Starts the app's server, on a unix socket of its own unless told otherwise, and gives its address."""

    async def start_server(address: str = "", **options: object) -> tuple[Server, str]:
        return await start_app(app, nursery, address or f"unix://{tmp_path}/{next(NUMBERS)}.sock", **options)

    return start_server


class Client:
    """A client that reads answers as an HTTP client does, and raw bytes where asked to."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _more(self) -> bool:
        data = await self.stream.receive_some(65536)
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            assert await self._more(), f"connection ended before {mark!r}: {self.buffer!r}"
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    async def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            assert await self._more(), f"connection ended early: {self.buffer!r}"
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    async def rest(self) -> bytes:
        while await self._more():
            pass
        found, self.buffer = self.buffer, b""
        return found

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.until(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split(" ")[1]), fields

    async def chunk(self) -> bytes:
        size = int(await self.until(b"\r\n"), 16)
        return (await self.exactly(size + 2))[:-2]

    async def answer(self, head_request: bool = False) -> tuple[int, dict[str, str], bytes]:
        status, fields = await self.head()
        if head_request or status in (204, 304):
            return status, fields, b""
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while chunk := await self.chunk():
                body += chunk
            return status, fields, body
        return status, fields, await self.exactly(int(fields["content-length"]))

    async def ask(self, method: str, target: str, fields: bytes = b"", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        await self.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n".encode() + fields + length + b"\r\n" + body)
        return await self.answer(method == "HEAD")


async def connect(address: str) -> Client:
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        return Client(await trio.open_unix_socket(rest))
    host, _, port = rest.rpartition(":")
    return Client(await trio.open_tcp_stream(host, int(port)))


async def test_keep_alive_and_headers(start: Start) -> None:
    """Several requests share a connection; each answer has its length and the engine's headers."""
    _, address = await start()
    client = await connect(address)
    for _ in range(3):
        status, fields, body = await client.ask("GET", "/v1.41/_ping")
        assert (status, body, fields["server"], fields["api-version"]) == (200, b"OK", "docket/0.1.0", "1.50")
        assert "connection" not in fields


async def test_head_has_no_body(start: Start) -> None:
    """The CLI pings with HEAD before every command, and a body would be taken for the next answer."""
    _, address = await start()
    client = await connect(address)
    assert (await client.ask("HEAD", "/_ping"))[0] == 200
    assert (await client.ask("HEAD", "/stream"))[0] == 200
    assert (await client.ask("HEAD", "/unknown"))[0] == 404
    assert (await client.ask("GET", "/_ping"))[2] == b"OK"
    assert client.buffer == b""


async def test_parameters_reach_the_handler(app: App, start: Start) -> None:
    """Path, version and query arrive decoded; 204 has neither body nor length."""
    _, address = await start()
    client = await connect(address)
    status, fields, _ = await client.ask("DELETE", "/v1.30/things/a%20b?force=False")
    assert (status, "content-length" in fields) == (204, False)
    assert app.seen == [({"id": "a b"}, (1, 30), False)]


async def test_errors_have_dockers_shape(app: App, start: Start) -> None:
    """Unknown pages, versions, crashes and mapped exceptions are JSON messages, and the connection lives on."""
    _, address = await start()
    client = await connect(address)
    for target, status, text in (
        ("/unknown", 404, "page not found"),
        ("/v1.99/_ping", 400, "client version 1.99 is too new. Maximum supported API version is 1.50"),
        ("/crash", 500, "ZeroDivisionError: no luck\nat all"),
        ("/teapot", 418, "'teapot'"),
        ("/nothing", 500, "RuntimeError: handler of GET /nothing returned no answer"),
        ("/badheader", 500, "the answer could not be sent"),
        ("/things/x?a=%", 404, "page not found"),
    ):
        found, fields, body = await client.ask("GET", target)
        assert (found, json.loads(body), fields["content-type"]) == (status, {"message": text}, "application/json")
    assert len(app.log) == 3
    assert all(line.isprintable() for line in app.log)


async def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    """What arrives early waits in the buffer."""
    _, address = await start()
    client = await connect(address)
    await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /_ping HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await client.answer())[2] == b"abc"
    assert (await client.answer())[2] == b"OK"


async def test_http10_and_close(start: Start) -> None:
    """HTTP/1.0 clients and those that ask for it get their answer and the end."""
    _, address = await start()
    for request in (b"GET /_ping HTTP/1.0\r\n\r\n", b"GET /_ping HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"):
        client = await connect(address)
        await client.send(request)
        _, fields, body = await client.answer()
        assert (fields["connection"], body) == ("close", b"OK")
        assert await client.rest() == b""


async def test_chunked_and_long_bodies(start: Start) -> None:
    """Uploads arrive whole, with a length past the parser or in chunks through it, and the connection is usable after."""
    _, address = await start()
    client = await connect(address)
    data = os.urandom(3_000_000)
    assert json.loads((await client.ask("POST", "/upload", body=data))[2]) == {"bytes": len(data)}
    await client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start_at in range(0, len(data), 70_000):
        piece = data[start_at : start_at + 70_000]
        await client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await client.send(b"0\r\n\r\nGET /_ping HTTP/1.1\r\nHost: a\r\n\r\n")
    assert json.loads((await client.answer())[2]) == {"bytes": len(data)}
    assert (await client.answer())[2] == b"OK"
    await client.send(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    )
    assert (await client.answer())[2] == b"abcde"


async def test_expect_continue(app: App, start: Start) -> None:
    """A waiting client is asked for its body once, and only if the body is wanted."""
    _, address = await start()
    client = await connect(address)
    expect = b"Host: a\r\nExpect: 100-continue\r\nContent-Length: "
    await client.send(b"POST /echo HTTP/1.1\r\n" + expect + b"3\r\n\r\n")
    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    await client.send(b"abc")
    assert (await client.answer())[2] == b"abc"
    await client.send(b"POST /small HTTP/1.1\r\n" + expect + b"11\r\n\r\n")
    status, fields, _ = await client.answer()
    assert (status, fields["connection"]) == (413, "close")
    assert app.calls == ["echo"]


async def test_s37_body_above_the_cap_is_413_before_the_handler(app: App, start: Start) -> None:
    """The cap is enforced where the handler, or a policy in front of it, has not run: by length and in chunks."""
    _, address = await start()
    client = await connect(address)
    status, fields, body = await client.ask("POST", "/small", body=b"x" * 11)
    assert (status, "connection" in fields) == (413, False)
    assert b"10 bytes" in body
    assert (await client.ask("POST", "/small", body=b"x" * 10))[0] == 200
    await client.send(
        b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n"
    )
    status, fields, _ = await client.answer()
    assert (status, fields["connection"]) == (413, "close")
    assert app.calls == ["echo"]


async def test_unread_bodies(start: Start) -> None:
    """A short body nobody read is dropped; after a long or chunked one the connection says that it closes."""
    _, address = await start()
    client = await connect(address)
    for target in ("/ignore", "/unknown"):
        assert "connection" not in (await client.ask("POST", target, body=b"x" * 5000))[1]
    assert (await client.ask("GET", "/_ping"))[2] == b"OK"
    await client.send(b"POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    assert (await client.answer())[1]["connection"] == "close"
    client = await connect(address)
    await client.send(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nabc")
    assert (await client.answer())[1]["connection"] == "close"
    assert await client.rest() == b""


async def test_json_bodies(start: Start) -> None:
    """Strict JSON, empty only where the handler allows it; a unix socket does not insist on the content type."""
    _, address = await start()
    client = await connect(address)
    assert json.loads((await client.ask("POST", "/json", body=b'{"a": 1}'))[2]) == {"got": {"a": 1}}
    assert json.loads((await client.ask("POST", "/json?optional=1"))[2]) == {"got": None}
    for body in (b"", b"{", b'{"a":1,"a":2}'):
        assert (await client.ask("POST", "/json", body=body))[0] == 400


MALFORMED = [
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.11\r\nHost: a\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%e9 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xd9\xa5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]
BAD_CHUNKS = [
    b"x\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b"1" * 21 + b"\r\n",
    b"0\r\n\n",
    b"0\r\nTrailer: x\r\n\r\n",
    b"0\r\nHost: evil\r\n\r\n",
    b"0\r\n x\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: y\n\r\n",
]
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def test_s38_tables_are_long_enough() -> None:
    """The promise is forty; each is a different mistake."""
    assert len(set(MALFORMED)) + len(set(BAD_CHUNKS)) >= 40


@pytest.mark.parametrize("request_bytes", MALFORMED)
async def test_s38_malformed_requests_are_400_and_close(app: App, start: Start, request_bytes: bytes) -> None:
    """One answer, then the end of the connection: what follows a malformed request is never read as a second one."""
    _, address = await start()
    client = await connect(address)
    await client.send(request_bytes + SMUGGLED)
    status, fields, body = await client.answer()
    assert (status, fields["connection"]) == (400, "close")
    assert json.loads(body)["message"]
    assert await client.rest() == b""
    assert app.calls == []
    assert app.log == []


@pytest.mark.parametrize("chunks", BAD_CHUNKS)
@pytest.mark.parametrize("target", [b"/echo", b"/upload"])
async def test_s38_malformed_chunks_are_400_and_close(app: App, start: Start, target: bytes, chunks: bytes) -> None:
    """The same for bodies, whether the server or the handler reads them; trailers are not for us."""
    _, address = await start()
    client = await connect(address)
    await client.send(b"POST " + target + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + SMUGGLED)
    status, fields, _ = await client.answer()
    assert (status, fields["connection"]) == (400, "close")
    assert await client.rest() == b""
    assert app.calls == []


FRAMINGS = st.lists(
    st.sampled_from(
        [
            b"Content-Length: %d\r\n" % len(SMUGGLED),
            b"Content-Length: 0\r\n",
            b"Content-Length: +0\r\n",
            b"Content-Length:\t%d \r\n" % len(SMUGGLED),
            b"Content-Length : 0\r\n",
            b"X: y\r\n Content-Length: 0\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"transfer-encoding:\tCHUNKED\r\n",
            b"Transfer-Encoding: identity\r\n",
            b"Transfer-Encoding: chunked\n",
            b"X-A: b\r\n",
        ]
    ),
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(framings=FRAMINGS)
async def test_s38_a_body_is_never_a_second_request(tmp_path: Path, framings: list[bytes]) -> None:
    """However the framing fields are combined: a request inside an announced body is part of it, or all is refused."""
    app = App()
    announced = any(line.startswith(b"Content") and b"%d" % len(SMUGGLED) in line for line in framings)
    chunked = any(line.lower().startswith((b"transfer-encoding: chunked", b"transfer-encoding:\tchunked")) for line in framings)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED) if chunked else SMUGGLED
    async with trio.open_nursery() as nursery:
        server, address = await start_app(app, nursery, f"unix://{tmp_path}/{next(NUMBERS)}.sock")
        client = await connect(address)
        await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + b"".join(framings) + b"\r\n" + body)
        await client.stream.send_eof()
        await client.rest()
        await server.shutdown()
    if chunked or announced:
        assert "smuggled" not in app.calls
    assert app.log == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 140), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=4))
async def test_s38_mangled_requests_never_crash(tmp_path: Path, edits: list[tuple[int, int, bytes]]) -> None:
    """Bytes replaced, removed and added anywhere: answers or a closed connection, nothing in the log, and the server goes on."""
    app = App()
    request = (
        b"POST /v1.41/upload?x=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n" + SMUGGLED
    )
    mangled = bytearray(request)
    for place, removed, added in edits:
        mangled[place : place + removed] = added
    async with trio.open_nursery() as nursery:
        server, address = await start_app(app, nursery, f"unix://{tmp_path}/{next(NUMBERS)}.sock")
        client = await connect(address)
        await client.send(bytes(mangled))
        await client.stream.send_eof()
        answers = await client.rest()
        assert answers == b"" or answers.startswith(b"HTTP/1.1 ")
        assert (await (await connect(address)).ask("GET", "/_ping"))[2] == b"OK"
        await server.shutdown()
    assert app.log == []


async def test_long_heads_are_431(start: Start) -> None:
    """The header is capped, also when it never ends."""
    _, address = await start()
    client = await connect(address)
    await client.send(b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 65536)
    assert (await client.answer())[0] == 431


async def test_slow_and_idle_clients(app: App, start: Start) -> None:
    """A header that does not arrive is 408; an idle connection is closed without a word; a body that pauses is 408."""
    app.limits = Limits(header_seconds=0.01, idle_seconds=0.01, body_pause_seconds=0.01, linger_seconds=0.01)
    _, address = await start()
    client = await connect(address)
    assert await client.rest() == b""
    client = await connect(address)
    await client.send(b"GET /_ping HTTP/1.1\r\n")
    assert (await client.answer())[0] == 408
    client = await connect(address)
    await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    assert (await client.answer())[0] == 408
    assert app.calls == []


async def test_too_many_connections_are_refused(app: App, start: Start) -> None:
    """The newest is turned away and the others are served; one more fits when one has gone."""
    app.limits = Limits(connections=2)
    server, address = await start()
    first, second = await connect(address), await connect(address)
    assert (await first.ask("GET", "/_ping"))[0] == 200
    assert (await second.ask("GET", "/_ping"))[0] == 200
    assert await (await connect(address)).rest() == b""
    await first.stream.aclose()
    with trio.fail_after(5):
        while server.connection_count == 2:
            await trio.lowlevel.checkpoint()
    assert (await (await connect(address)).ask("GET", "/_ping"))[0] == 200


# Streams


async def test_stream_header_and_chunks_go_out_at_once(app: App, start: Start) -> None:
    """`docker run` blocks on the header of /wait before it starts the container: it must not wait for the body."""
    go, done = trio.Event(), trio.Event()

    async def write(out: StreamSender) -> None:
        await go.wait()
        await out.send(b"one")
        await out.send(b"")
        await done.wait()
        await out.send(b"two")

    app.write = write
    _, address = await start()
    client = await connect(address)
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    status, fields = await client.head()
    assert (status, fields["transfer-encoding"], fields["content-type"]) == (200, "chunked", "application/json")
    go.set()
    assert await client.chunk() == b"one"
    done.set()
    assert [await client.chunk(), await client.chunk()] == [b"two", b""]
    assert (await client.ask("GET", "/_ping"))[2] == b"OK"


async def test_stream_ends_when_the_client_goes(app: App, start: Start) -> None:
    """A quiet stream does not outlive its client: S42's thousand vanished followers leave nothing behind."""
    app.write = lambda out: trio.sleep_forever()
    server, address = await start()
    client = await connect(address)
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.head()
    await client.stream.aclose()
    with trio.fail_after(5):
        await app.ended.wait()
        while server.connection_count:
            await trio.lowlevel.checkpoint()
    assert app.log == []


async def test_stream_survives_a_half_close(app: App, start: Start) -> None:
    """A client that shut only its writing side still reads, on unix sockets and on TCP."""
    for address_asked in ("", "tcp://127.0.0.1:0"):
        go = trio.Event()

        async def write(out: StreamSender, go: trio.Event = go) -> None:
            await go.wait()
            await out.send(b"still here")

        app.write = write
        app.started = trio.Event()
        _, address = await start(address_asked, insecure_tcp=True)
        client = await connect(address)
        await client.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.stream.send_eof()
        await client.head()
        await app.started.wait()
        await trio.testing.wait_all_tasks_blocked()
        go.set()
        assert [await client.chunk(), await client.chunk()] == [b"still here", b""]


async def test_stream_failure_is_visible(app: App, start: Start) -> None:
    """Without its final chunk the client knows that the answer is not whole; the log has one line."""

    async def write(out: StreamSender) -> None:
        await out.send(b"part")
        raise ValueError("broken half-way")

    app.write = write
    _, address = await start()
    client = await connect(address)
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.head()
    assert await client.rest() == b"4\r\npart\r\n"
    assert len(app.log) == 1
    assert "broken half-way" in app.log[0]


async def test_stream_chunks_of_many_tasks_stay_whole(app: App, start: Start) -> None:
    """Stdout and stderr pumps may send side by side."""

    async def write(out: StreamSender) -> None:
        async with trio.open_nursery() as nursery:
            for letter in (b"a", b"b", b"c"):
                nursery.start_soon(out.send, letter * 300_000)

    app.write = write
    _, address = await start()
    client = await connect(address)
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.head()
    chunks = {await client.chunk() for _ in range(3)}
    assert chunks == {letter * 300_000 for letter in (b"a", b"b", b"c")}


async def test_stream_of_known_length(app: App, start: Start) -> None:
    """Its length is announced and kept; a body that turns out otherwise cuts the connection instead of lying."""
    _, address = await start()
    client = await connect(address)
    for length, body in ((6, b"abcdef"), (None, b"abcdef")):
        status, fields, found = await client.ask("GET", f"/file?length={length or ''}")
        assert (status, found, fields["content-type"]) == (200, body, "application/x-tar")
        assert fields.get("content-length") == (str(length) if length else None)
    assert app.log == []
    for length, sent in ((7, b"abcdef"), (5, b"abc")):
        client = await connect(address)
        await client.send(b"GET /file?length=%d HTTP/1.1\r\nHost: a\r\n\r\n" % length)
        await client.head()
        assert await client.rest() == sent
    assert len(app.log) == 2


async def test_stream_to_http10_ends_with_the_connection(app: App, start: Start) -> None:
    """Such a client knows no chunks."""

    async def write(out: StreamSender) -> None:
        await out.send(b"plain")

    app.write = write
    _, address = await start()
    client = await connect(address)
    await client.send(b"GET /stream HTTP/1.0\r\n\r\n")
    assert (await client.head())[1].get("transfer-encoding") is None
    assert await client.rest() == b"plain"


# Hijacked connections


async def test_hijack_with_upgrade(app: App, start: Start) -> None:
    """101 with exactly Docker's fields; early input is kept apart; EOF from the client ends stdin and not the output."""
    result = trio.Event()

    async def on_hijack(hijacked: Hijacked) -> None:
        data = hijacked.early
        await hijacked.stream.send_all(b"early:" + data + b"\n")
        received = b""
        while chunk := await hijacked.stream.receive_some():
            received += chunk
        await hijacked.stream.send_all(b"stdin:" + received + b"\n")
        result.set()

    app.on_hijack = on_hijack
    _, address = await start()
    client = await connect(address)
    await client.send(b"POST /attach HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + UPGRADE + b"\r\n{}first")
    assert await client.until(b"\r\n\r\n") == (
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp"
    )
    assert await client.until(b"\n") == b"early:first"
    await client.send(b"second")
    await client.stream.send_eof()
    assert await client.rest() == b"stdin:second\n"
    assert result.is_set()


async def test_hijack_without_upgrade(app: App, start: Start) -> None:
    """200 with the content type, no length and no chunks; the end of the connection is the end."""

    async def on_hijack(hijacked: Hijacked) -> None:
        await hijacked.stream.send_all(b"all")

    app.on_hijack = on_hijack
    _, address = await start()
    client = await connect(address)
    await client.send(b"POST /attach HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n")
    assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream"
    assert await client.rest() == b"all"


async def test_hijack_header_goes_alone(app: App, start: Start) -> None:
    """A client that reads the header with one recv() gets nothing else with it: docker-py would drop it."""

    async def on_hijack(hijacked: Hijacked) -> None:
        await hijacked.stream.send_all(b"data")

    app.on_hijack = on_hijack
    _, address = await start()
    for _ in range(20):
        client = await connect(address)
        await client.send(b"POST /attach HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n")
        assert (await client.stream.receive_some(65536)).endswith(b"\r\n\r\n")
        assert await client.rest() == b"data"


async def test_hijack_all_output_is_out_before_the_end(app: App, start: Start) -> None:
    """Unread input at the end must not become a reset that takes the last output along."""
    size = 2_000_000

    async def on_hijack(hijacked: Hijacked) -> None:
        await hijacked.stream.send_all(b"x" * size)

    app.on_hijack = on_hijack
    for address_asked in ("", "tcp://127.0.0.1:0"):
        _, address = await start(address_asked, insecure_tcp=True)
        client = await connect(address)
        await client.send(b"POST /attach HTTP/1.1\r\nHost: localhost\r\n" + UPGRADE + b"\r\n")
        await client.until(b"\r\n\r\n")
        await client.send(b"input that nobody reads")
        assert len(await client.rest()) == size


async def test_hijack_notices_a_client_that_is_gone(app: App, start: Start) -> None:
    """A half-close leaves wait_gone() waiting; the client's close ends it."""
    half_closed, gone = trio.Event(), trio.Event()

    async def on_hijack(hijacked: Hijacked) -> None:
        async def watch() -> None:
            await hijacked.wait_gone()
            gone.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            assert await hijacked.stream.receive_some() == b""
            half_closed.set()

    app.on_hijack = on_hijack
    _, address = await start()
    client = await connect(address)
    await client.send(b"POST /attach HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n")
    await client.until(b"\r\n\r\n")
    await client.stream.send_eof()
    await half_closed.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert not gone.is_set()
    await client.stream.aclose()
    with trio.fail_after(5):
        await gone.wait()


async def test_hijack_detach_gives_the_socket_away(app: App, start: Start) -> None:
    """After detach() the socket belongs to another process: the server forgets it and neither shuts it down nor closes it."""
    given_away: list[tuple[socket.socket, bytes]] = []

    async def on_hijack(hijacked: Hijacked) -> None:
        sock = hijacked.detach()
        assert sock is not None
        given_away.append((sock, hijacked.early))
        with pytest.raises(trio.ClosedResourceError):
            await hijacked.stream.send_all(b"too late")

    app.on_hijack = on_hijack
    server, address = await start()
    client = await connect(address)
    await client.send(b"POST /attach HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\nearly")
    await client.until(b"\r\n\r\n")
    with trio.fail_after(5):
        while server.connection_count:
            await trio.lowlevel.checkpoint()
    sock, early = given_away[0]
    assert early == b"early"
    os.write(sock.fileno(), b"from elsewhere")
    assert await client.exactly(14) == b"from elsewhere"
    await client.send(b"back")
    assert os.read(sock.fileno(), 10) == b"back"
    await server.shutdown()
    sock.sendall(b"after the server's end")
    sock.close()
    assert await client.rest() == b"after the server's end"


async def test_hijack_errors_before_and_after(app: App, start: Start) -> None:
    """Before the header an error is an ordinary answer; after it, a line in the log and the end."""

    async def on_hijack(hijacked: Hijacked) -> None:
        raise HttpError(404, "too late to say")

    app.on_hijack = on_hijack
    _, address = await start()
    client = await connect(address)
    assert (await client.ask("POST", "/attach/x", UPGRADE))[0] == 404
    assert (await client.ask("GET", "/_ping"))[0] == 200
    await client.send(b"POST /attach HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n")
    await client.until(b"\r\n\r\n")
    assert await client.rest() == b""
    assert len(app.log) == 1
    assert "after the connection was hijacked" in app.log[0]


# Who is there


async def test_s56_actor_comes_from_the_kernel(start: Start) -> None:
    """No header changes who the client is."""
    _, address = await start()
    client = await connect(address)
    _, _, body = await client.ask("GET", "/actor", b"X-Forwarded-User: root\r\nX-Actor: uid=0\r\nFrom: x\r\n")
    assert body.decode().startswith(f"uid={os.getuid()} gid={os.getgid()} pid={os.getpid()}")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Host: localhost:2375\r\n", 200),
        (b"Host: 127.0.0.1\r\n", 200),
        (b"Host: evil.example\r\n", 403),
        (b"Host: evil.example:2375\r\n", 403),
        (b"Host: localhost\r\nOrigin: http://localhost\r\n", 403),
        (b"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
    ],
)
async def test_s44_web_pages_do_not_reach_tcp(app: App, start: Start, fields: bytes, status: int) -> None:
    """On TCP only known names, and nothing a browser sends for a page; the handler does not run."""
    _, address = await start("tcp://127.0.0.1:0", insecure_tcp=True)
    client = await connect(address)
    await client.send(b"GET /_ping HTTP/1.1\r\n" + fields + b"\r\n")
    assert (await client.answer())[0] == status
    assert app.calls == (["/_ping"] if status == 200 else [])


async def test_s44_unix_sockets_do_not_ask(start: Start) -> None:
    """Clients of a unix socket send whatever Host they like."""
    _, address = await start()
    client = await connect(address)
    await client.send(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nOrigin: x\r\n\r\n")
    assert (await client.answer())[0] == 200


async def test_s44_json_on_tcp_needs_its_content_type(start: Start) -> None:
    """A form of a web page can be sent without asking, `application/json` cannot."""
    _, address = await start("tcp://127.0.0.1:0", insecure_tcp=True)
    client = await connect(address)
    assert (await client.ask("POST", "/json", b"Content-Type: text/plain\r\n", b"{}"))[0] == 400
    assert (await client.ask("POST", "/json", b"", b"{}"))[0] == 400
    assert (await client.ask("POST", "/json", b"Content-Type: application/json; charset=utf-8\r\n", b"{}"))[0] == 200
    assert (await client.ask("POST", "/json?optional=1", b"Content-Type: text/plain\r\n"))[0] == 200


# The end


async def test_shutdown_lets_requests_finish(app: App, start: Start, tmp_path: Path, nursery: trio.Nursery) -> None:
    """Idle connections end, a running answer is finished and says that it is the last, and the socket's file is gone."""
    go = trio.Event()

    async def write(out: StreamSender) -> None:
        await go.wait()
        await out.send(b"finished")

    app.limits = Limits(linger_seconds=0.01)
    app.write = write
    server, address = await start()
    idle, busy = await connect(address), await connect(address)
    assert (await idle.ask("GET", "/_ping"))[0] == 200
    await busy.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    await busy.head()
    nursery.start_soon(server.shutdown, 60)
    assert await idle.rest() == b""
    go.set()
    assert await busy.rest() == b"8\r\nfinished\r\n0\r\n\r\n"
    with trio.fail_after(5):
        while server.connection_count:
            await trio.lowlevel.checkpoint()
    assert list(tmp_path.iterdir()) == []


async def test_shutdown_ends_endless_streams_properly(app: App, start: Start) -> None:
    """Followers of events get a whole answer, and do not hold the engine up."""
    app.limits = Limits(linger_seconds=0.01)
    app.write = lambda out: trio.sleep_forever()
    server, address = await start()
    client = await connect(address)
    await client.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.head()
    await app.started.wait()
    with trio.fail_after(30):
        await server.shutdown(deadline_seconds=60)
    assert await client.rest() == b"0\r\n\r\n"


async def test_shutdown_cuts_at_the_deadline(app: App, start: Start, tmp_path: Path) -> None:
    """What does not end is ended, without the final chunk."""
    app.write = lambda out: trio.sleep_forever()
    server, address = await start()
    client = await connect(address)
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.head()
    await app.started.wait()
    await server.shutdown(deadline_seconds=0)
    assert await client.rest() == b""
    assert list(tmp_path.iterdir()) == []


# TLS


def _openssl(folder: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a server and a client, and a stranger with an authority of its own."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make certificates")
    folder = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "stranger"):
        _openssl(
            folder, "req", "-x509", *key, "-subj", f"/CN={name}", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem"
        )
    for name, subject in (("server", "/CN=localhost"), ("client", "/O=ops/CN=alice")):
        _openssl(folder, "req", *key, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"]
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.pem")
    return folder


@pytest.fixture
async def tls_address(start: Start, certificates: Path) -> AsyncIterator[str]:
    config = TlsConfig(*(str(certificates / name) for name in ("ca.pem", "server.pem", "server.key")))
    _, address = await start("tcp://127.0.0.1:0", tls=config)
    yield address


async def connect_tls(address: str, certificates: Path, name: str | None) -> Client:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    if name is not None:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    plain = (await connect(address)).stream
    assert isinstance(plain, trio.SocketStream)
    return Client(trio.SSLStream(plain, context, server_hostname="127.0.0.1", https_compatible=True))


async def test_s56_actor_is_the_certificates_subject(tls_address: str, certificates: Path) -> None:
    """With TLS the client is who its certificate says."""
    client = await connect_tls(tls_address, certificates, "client")
    assert (await client.ask("GET", "/actor", b"X-Actor: root\r\n"))[2] == b"tls subject=O=ops,CN=alice"
    assert (await client.ask("GET", "/_ping", b"Origin: http://evil.example\r\n"))[0] == 403


@pytest.mark.parametrize("name", [None, "stranger"])
async def test_tls_without_a_known_certificate_is_refused(
    app: App, tls_address: str, certificates: Path, name: str | None
) -> None:
    """No certificate, or one of another authority: no request is read, and the log says so."""
    client = await connect_tls(tls_address, certificates, name)
    try:
        await client.send(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await client.rest() == b""
    except trio.BrokenResourceError:
        pass  # The refusal came as a reset, which is as good.
    with trio.fail_after(5):
        while not app.log:
            await trio.lowlevel.checkpoint()
    assert app.calls == []
    good = await connect_tls(tls_address, certificates, "client")
    assert (await good.ask("GET", "/_ping"))[0] == 200


async def test_tls_hijack(app: App, tls_address: str, certificates: Path) -> None:
    """Attach works over TLS, without a descriptor to give away, and ends with TLS's own end."""

    async def on_hijack(hijacked: Hijacked) -> None:
        assert hijacked.detach() is None
        await hijacked.stream.send_all(b"> " + await hijacked.stream.receive_some() + b"\n")

    app.on_hijack = on_hijack
    client = await connect_tls(tls_address, certificates, "client")
    await client.send(b"POST /attach HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE + b"\r\n")
    assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 UPGRADED")
    await client.send(b"hello")
    assert await client.rest() == b"> hello\n"


async def test_tls_stream_notices_a_reset(app: App, tls_address: str, certificates: Path) -> None:
    """A client that breaks off is noticed below TLS."""
    app.write = lambda out: trio.sleep_forever()
    client = await connect_tls(tls_address, certificates, "client")
    await client.send(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await client.head()
    assert isinstance(client.stream, trio.SSLStream)
    sock = client.stream.transport_stream.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    with trio.fail_after(5):
        await app.ended.wait()

"""The HTTP/1.1 server: requests in, responses, streams and raw connections out; it knows nothing of containers.

It is built on trio and h11 and speaks what Docker clients speak: keep-alive, chunked bodies, `Expect: 100-continue`, and
connections that are taken over ("hijacked") for attach and exec.

    router = Router([Route("GET", "/containers/{id}/json", inspect), Route("GET", "/images/{name:path}/json", inspect_image),
                     Route("POST", "/build", build, body_limit=None)])
    server = Server(router, on_error=to_response, default_headers=[("Api-Version", "1.50"), ("Ostype", "linux")])
    listeners = open_listeners("unix:///run/docket/docket.sock", socket_group="docker")
    await nursery.start(server.serve, listeners)     # serve(listeners) returns after shutdown()
    await server.shutdown(deadline_seconds=5)        # stop accepting, let requests finish, then cut; unlinks the socket

A handler is `async def handler(request: Request) -> Response | Stream | None`; None only after `request.hijack()`.

Request (request.py)
    method: str, path: str (decoded, without the version), target: str (as sent), parameters: dict[str, str] (from the template),
    api_version: tuple[int, int] (the newest known one if the path has no version), headers: dict[str, str] (names lower
    case, repeated fields joined by ", "), peer: Peer, query: Query (400 when malformed).
    query.get(name, default=None) -> str | None; query.all(name) -> list[str]; query.boolean(name, default=False) -> bool;
    query.integer(name, default=None) -> int | None (400 for anything but ASCII digits with a sign); name in query; query.names()
    await request.body(limit=None) -> bytes                 413 when longer than `limit`
    await request.json(limit=None, optional=False) -> Any   400 for non-JSON, duplicate keys, NaN, infinity, lone surrogates,
                                                            depth over 64; an empty body is 400, or None when optional
    async for chunk in request.body_stream(): ...           for routes with body_limit=None, any length
    request.wants_upgrade: bool
    await request.hijack(content_type, headers=()) -> Hijacked
Unless a route says `body_limit=None`, its body (default cap 4 MiB) is read before the handler runs: a longer one is 413 and the
handler never sees it (S37). So `await request.body()` and `.json()` do not wait there.

Peer (peer.py)
    transport: "unix" | "tcp" | "tls"; uid, gid, pid: int | None; subject: str | None
    peer.actor: str        `uid=0 gid=0 pid=12 user=root`, `tls subject=CN=alice,O=ops`, or `tcp address=127.0.0.1` (insecure TCP)
    Taken from the kernel or the certificate when the connection is accepted; no header changes it (S56).

Response, Stream (response.py)
    Response(status=200, body=b"", headers=(), content_type=None)
    Response.json(value, status=200, headers=())    anything msgspec encodes, Structs too
    Response.text(text, status=200, headers=())
    Response.error(status, message)                 {"message": message}
    Response.empty(status=204, headers=())
    Stream(write, status=200, headers=(), content_type="application/json", endless=False, length=None)
        `async def write(out: StreamSender) -> None` runs after the handler has returned and the header is out; open resources
        inside it. `await out.send(data)` sends a chunk at once, from any number of tasks. When the client has gone, `write` is
        cancelled; a client that only shut its writing side has not gone. An exception in `write` is logged and the connection cut
        without the final chunk. `endless=True` (events, followed logs) also ends, properly, when the server shuts down.
    Stream.of(chunks, ...)                          the same from an async iterable of bytes

Hijacked (hijack.py): `101 UPGRADED` when the client asked for an upgrade to tcp, else `200 OK` without a length. The header
    goes out on its own, and hijack() returns when a client on a unix socket has read it (docker-py loses what comes along).
    hijacked.early: bytes           what the client sent after its request; `stream` does not repeat it
    hijacked.stream                 a trio HalfCloseableStream: receive_some() -> b"" is the end of stdin, NOT the client's end;
                                    send_all(), send_eof(); a vanished client shows as trio.BrokenResourceError on send
    await hijacked.wait_gone()      returns when the client is gone altogether; run it beside a quiet stream (after detach():
                                    wait_gone(socket))
    hijacked.detach() -> socket.socket | None    the plain unix or TCP socket (non-blocking) to hand to another process; the caller
                                    owns and closes it, the server forgets the connection without shutdown(). None on TLS.
    When the handler returns without detach(), the server sends the end of the stream and closes.

HttpError(status, message, headers=()) may be raised anywhere in a handler and is answered as `{"message": …}`. All other
exceptions (an exception group of one is opened) go to `on_error(exception) -> Response | None`; None means 500 and a line in
the log.

Listeners (listeners.py)
    open_listeners(address, *, tls=None, insecure_tcp=False, socket_group=None, socket_mode=0o660, allowed_hosts=(), environ=None)
        -> list[Listener]     `unix:///path`, `tcp://host:port`, `fd://`; ListenError says what is wrong and what to do
    TlsConfig(ca, cert, key)  paths; the client's certificate is required and checked
"""

from docket.adapters.http.errors import HttpError, MalformedRequest
from docket.adapters.http.hijack import Hijacked, HijackedStream, wait_gone
from docket.adapters.http.limits import Limits
from docket.adapters.http.listeners import Listener, ListenError, TlsConfig, open_listeners
from docket.adapters.http.peer import Peer
from docket.adapters.http.query import Query
from docket.adapters.http.request import Request
from docket.adapters.http.response import Answer, Response, Stream, StreamSender
from docket.adapters.http.routing import MAX_API_VERSION, MIN_API_VERSION, Handler, Route, Router
from docket.adapters.http.server import Server

__all__ = [
    "MAX_API_VERSION",
    "MIN_API_VERSION",
    "Answer",
    "Handler",
    "Hijacked",
    "HijackedStream",
    "HttpError",
    "Limits",
    "ListenError",
    "Listener",
    "MalformedRequest",
    "Peer",
    "Query",
    "Request",
    "Response",
    "Route",
    "Router",
    "Server",
    "Stream",
    "StreamSender",
    "TlsConfig",
    "open_listeners",
    "wait_gone",
]

"""The server: accepts connections, finds the handler of each request, and turns whatever happens into an answer.

No exception of a handler or of one connection ever reaches the nursery that serves all the others: it becomes an error answer, or
at least one line in the log, and the connection ends. The order for each request is fixed: framing (400), web pages on TCP (403),
route (404) and version (400), body (413), handler.
"""

import errno
import sys
from collections.abc import Callable, Sequence

import trio

from docket.adapters.http.browser_guard import check_browser
from docket.adapters.http.connection import Connection
from docket.adapters.http.errors import HttpError, MalformedRequest
from docket.adapters.http.hijack import AnyStream
from docket.adapters.http.limits import Limits
from docket.adapters.http.listeners import Listener
from docket.adapters.http.request import Request
from docket.adapters.http.response import Answer, Response, Stream
from docket.adapters.http.routing import Router
from docket.adapters.http.streaming import send_stream
from docket.adapters.http.wire import field_lines

# The connection was gone again before it could be accepted (accept(2)).
_ABORTED = (errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH)
_CLIENT_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)

OnError = Callable[[Exception], Response | None]


def log_to_stderr(line: str) -> None:
    """The default log: one line on standard error."""
    sys.stderr.write(f"docket: {line}\n")


class Server:
    """Serves one router on any number of listeners; `serve` runs until `shutdown` or cancellation."""

    def __init__(
        self,
        router: Router,
        *,
        on_error: OnError | None = None,
        default_headers: Sequence[tuple[str, str]] = (),
        server_header: str = "docket",
        log: Callable[[str], None] = log_to_stderr,
        limits: Limits | None = None,
        answered: Callable[[Request, int], None] | None = None,
    ) -> None:
        self.draining = trio.Event()
        self._router = router
        self._on_error = on_error
        self._common_fields = field_lines([("Server", server_header), *default_headers])
        self._log_line = log
        self._answered = answered
        self._limits = limits or Limits()
        self._connections: set[Connection] = set()
        self._open_count = 0
        self._accepting = trio.CancelScope()
        self._serving = trio.CancelScope()
        self._finished = trio.Event()

    @property
    def connection_count(self) -> int:
        """How many connections are open; those given away by `Hijacked.detach` no longer count."""
        return self._open_count

    async def serve(
        self, listeners: Sequence[Listener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept and answer until `shutdown`; closes the listeners, and removes their sockets, whatever happens."""
        try:
            with self._serving:
                async with trio.open_nursery() as connections:
                    with self._accepting:
                        async with trio.open_nursery() as acceptors:
                            for listener in listeners:
                                acceptors.start_soon(self._accept, listener, connections)
                            task_status.started()
                    for listener in listeners:
                        listener.close()
        finally:
            for listener in listeners:
                listener.close()
            self._finished.set()

    async def shutdown(self, deadline_seconds: float = 5.0) -> None:
        """Stop accepting, end idle connections and endless streams, wait for the rest, and cut it at the deadline."""
        self._accepting.cancel()
        self.draining.set()
        for connection in self._connections:
            connection.closing = True
            connection.stop_waiting()
        with trio.move_on_after(deadline_seconds):
            await self._finished.wait()
        self._serving.cancel()
        await self._finished.wait()

    # Connections

    async def _accept(self, listener: Listener, nursery: trio.Nursery) -> None:
        while True:
            try:
                sock, _ = await listener.socket.accept()
            except OSError as error:
                if error.errno not in _ABORTED:
                    self._log(f"cannot accept a connection on {listener.address}", error)
                    await trio.sleep(0.1)
                continue
            if self._open_count >= self._limits.connections:
                self._log_line(f"connection on {listener.address} refused: {self._open_count} are open already")
                sock.close()
                continue
            self._open_count += 1
            nursery.start_soon(self._serve_connection, listener, sock)

    async def _serve_connection(self, listener: Listener, sock: trio.socket.SocketType) -> None:
        stream: AnyStream | None = None
        try:
            stream, peer = await listener.identify(sock, self._limits.handshake_seconds)
            await self._talk(Connection(stream, peer, self._limits, self._common_fields), listener, sock)
        except Exception as error:
            if stream is None or not _only_client_gone(error):
                self._log(f"connection on {listener.address} failed", error)
        finally:
            self._open_count -= 1
            sock.close()

    async def _talk(self, connection: Connection, listener: Listener, sock: trio.socket.SocketType) -> None:
        known_hosts = listener.known_hosts(sock) if listener.is_tcp else None
        self._connections.add(connection)
        try:
            connection.closing = self.draining.is_set()
            while not connection.closing and await self._one_request(connection, known_hosts):
                pass
        finally:
            self._connections.discard(connection)

    async def _one_request(self, connection: Connection, known_hosts: frozenset[str] | None) -> bool:
        """Read and answer one request; False when the connection is over."""
        try:
            request = await connection.next_request()
        except MalformedRequest as error:
            connection.closing = True
            await connection.respond(Response.error(error.status, error.message))
            await connection.close_gently()
            return False
        if request is None:
            return False
        answer = await self._answer(request, connection, known_hosts)
        if self._answered is not None:
            self._answered(request, 101 if answer is None else answer.status)
        if request.hijacked is None:
            await self._send(connection, answer)
        elif request.hijacked.detached:
            return False
        if await connection.finish():
            return True
        await connection.close_gently()
        return False

    # Requests

    async def _answer(self, request: Request, connection: Connection, known_hosts: frozenset[str] | None) -> Answer:
        try:
            if known_hosts is not None:
                check_browser(request.headers, known_hosts)
            match = self._router.match(request.method, request.path)
            request.path, request.parameters, request.api_version = match.path, match.parameters, match.api_version
            if match.route.body_limit is not None:
                await request.body(match.route.body_limit)
            answer = await match.route.handler(request)
            if answer is None and request.hijacked is None:
                raise RuntimeError(f"handler of {match.route.method} {match.route.template} returned no answer")
            return answer
        except Exception as error:
            return self._error_answer(request, connection, error)

    async def _send(self, connection: Connection, answer: Answer) -> None:
        try:
            if isinstance(answer, Stream):
                await send_stream(connection, answer, self.draining)
            elif answer is not None:
                await connection.respond(answer)
        except ValueError as error:
            # Raised before anything was sent when a field cannot be; after that, it is the stream's own failure.
            if connection.torn:
                raise
            self._log("answer cannot be sent", error)
            await connection.respond(Response.error(500, "the answer could not be sent"))

    def _error_answer(self, request: Request, connection: Connection, error: Exception) -> Response:
        """The answer to an exception: our own errors, then the caller's mapping, then 500 and a line in the log."""
        cause = _unwrap(error)
        if request.hijacked is not None and not _only_client_gone(cause):
            self._log(f"{request.method} {request.path} failed after the connection was hijacked", cause)
            return Response.empty()
        if isinstance(cause, HttpError):
            connection.closing = connection.closing or isinstance(cause, MalformedRequest)
            return Response.error(cause.status, cause.message, cause.headers)
        if not _only_client_gone(cause):
            known = self._map_error(cause)
            if known is not None:
                return known
            self._log(f"{request.method} {request.path} failed", cause)
        return Response.error(500, f"{type(cause).__name__}: {cause}")

    def _map_error(self, error: Exception) -> Response | None:
        if self._on_error is None:
            return None
        try:
            return self._on_error(error)
        except Exception as second:
            self._log(f"error mapping failed for {type(error).__name__}", second)
            return None

    def _log(self, what: str, error: Exception) -> None:
        """One line, with what clients wrote made printable (S55)."""
        line = f"{what}: {type(error).__name__}: {error}{_place(error)}"
        self._log_line("".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line))


def _unwrap(error: Exception) -> Exception:
    """The one exception in a group of one, as trio's nurseries make them."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _only_client_gone(error: Exception) -> bool:
    """Whether the exception says no more than that the client is no longer there."""
    if isinstance(error, ExceptionGroup):
        return error.split(_CLIENT_GONE)[1] is None
    return isinstance(error, _CLIENT_GONE)


def _place(error: Exception) -> str:
    """The innermost line of the traceback, which is what a one-line log has room for."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else f" ({frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno})"

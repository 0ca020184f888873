"""A small HTTP/1.1 client for the Engine API: requests, chunked and length bodies, streams, hijacked connections.

One idle connection is kept for the next request. Everything received is bounded: a head of 64 KiB, a JSON answer of 256 MiB.
Errors of the engine become EngineError with its own words; an answer that is not HTTP becomes CliError.
"""

from __future__ import annotations

from docket.cli.errors import CliError, EngineError
from docket.cli.json_light import dumps
from docket.cli.sanitise import printable, printable_text
from docket.cli.values import is_number
from docket.domain.compact_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from docket.cli.connect import Transport

    Query = Iterable[tuple[str, str]]

_HEAD_LIMIT = 64 * 1024
_ANSWER_LIMIT = 256 * 1024 * 1024
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: str = "") -> str:
    """Percent-encoding for a path segment or a query value."""
    if all(char in _UNRESERVED or char in safe for char in text):
        return text
    return "".join(
        chr(byte) if chr(byte) in _UNRESERVED or chr(byte) in safe else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


class Response:
    """An answer whose body is read as it comes; a `with` block or `read()` gives the connection back."""

    def __init__(self, client: Client, transport: Transport, method: str) -> None:
        self._client = client
        self._transport = transport
        self._buffer = b""
        self.status, self.headers = self._read_head()
        while 100 <= self.status < 101:
            self.status, self.headers = self._read_head()
        self._bodiless = method == "HEAD" or self.status in (101, 204, 304)
        self._done = self._bodiless
        if self._done and self.status != 101:
            self._release()

    def take(self) -> tuple[Transport, bytes]:
        """The connection and what has arrived on it, after an upgrade."""
        return self._transport, self._buffer

    def fileno(self) -> int:
        return self._transport.fileno()

    def waiting(self) -> bool:
        """Whether part of the body is here already, so that the descriptor need not become readable."""
        return bool(self._buffer) or self._done or self._transport.buffered()

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, as they arrive."""
        if not self._done:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                yield from self._chunked()
            elif "content-length" in self.headers:
                yield from self._counted()
            else:
                yield from self._until_end()
            self._done = True
            self._release()

    def lines(self) -> Iterator[bytes]:
        """The body line by line, without the line ends; for streams of JSON objects."""
        rest = b""
        for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in (line.strip() for line in lines) if line)
        if rest.strip():
            yield rest.strip()

    def read(self) -> bytes:
        """The whole body."""
        pieces, size = [], 0
        for chunk in self.chunks():
            size += len(chunk)
            if size > _ANSWER_LIMIT:
                raise CliError(f"the answer of the docket daemon is larger than {_ANSWER_LIMIT} bytes")
            pieces.append(chunk)
        return b"".join(pieces)

    def close(self) -> None:
        """Drops the connection, whatever was still to come."""
        self._transport.close()

    def _release(self) -> None:
        if self.headers.get("connection", "").lower() == "close" or self._buffer:
            self._transport.close()
        else:
            self._client.keep(self._transport)

    def _fill(self) -> None:
        data = self._transport.receive()
        if not data:
            raise CliError("the docket daemon closed the connection in the middle of its answer")
        self._buffer += data

    def _read_head(self) -> tuple[int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise CliError("the answer of the docket daemon has a head of more than 64 KiB")
            self._fill()
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        version, _, rest = lines[0].partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not is_number(status):
            raise CliError(f"not an answer of an engine: {printable(lines[0][:100])!r}")
        fields = (line.partition(":") for line in lines[1:])
        return int(status), {name.strip().lower(): value.strip() for name, _, value in fields}

    def _chunked(self) -> Iterator[bytes]:
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                self._fill()
            size_text = self._buffer[:end].partition(b";")[0].strip().decode("latin-1")
            self._buffer = self._buffer[end + 2 :]
            if not size_text or size_text.strip("0123456789abcdefABCDEF"):
                raise CliError("the docket daemon sent a malformed chunk")
            size = int(size_text, 16)
            yield from self._exactly(size)
            while len(self._buffer) < 2:
                self._fill()
            self._buffer = self._buffer[2:]
            if size == 0:
                return

    def _counted(self) -> Iterator[bytes]:
        length = self.headers["content-length"]
        if not is_number(length):
            raise CliError("the docket daemon sent a malformed length")
        yield from self._exactly(int(length))

    def _exactly(self, left: int) -> Iterator[bytes]:
        while left:
            if not self._buffer:
                self._fill()
            piece, self._buffer = self._buffer[:left], self._buffer[left:]
            left -= len(piece)
            yield piece

    def _until_end(self) -> Iterator[bytes]:
        if self._buffer:
            piece, self._buffer = self._buffer, b""
            yield piece
        while data := self._transport.receive():
            yield data
        self.headers["connection"] = "close"


class Client:
    """Requests to one engine. `connect` makes a connection, `prefix` goes before every path."""

    def __init__(self, connect: Callable[[], Transport], host: str, prefix: str) -> None:
        self._connect = connect
        self._host = host
        self._prefix = prefix
        self._idle: Transport | None = None

    def keep(self, transport: Transport) -> None:
        """Takes back a connection on which nothing is under way."""
        if self._idle is not None:
            self._idle.close()
        self._idle = transport

    def request(
        self, method: str, path: str, query: Query = (), body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Sends a request whose JSON body (or None) is complete; raises EngineError for an answer of 400 and above."""
        transport = self._send(method, path, query, body, headers or {})
        return _checked(Response(self, transport, method))

    def begin(self, method: str, path: str, query: Query = ()) -> Callable[[], Any]:
        """Sends a request and returns what reads its JSON answer, so that several can be under way together."""
        transport = self._send(method, path, query, None, {})
        return lambda: loads(_checked(Response(self, transport, method)).read())

    def _send(self, method: str, path: str, query: Query, body: Any, headers: dict[str, str]) -> Transport:
        fields = dict(headers)
        data = b""
        if body is not None:
            data = dumps(body).encode("utf-8", "surrogateescape")
            fields["Content-Type"] = "application/json"
        if method in ("POST", "PUT"):
            fields["Content-Length"] = str(len(data))
        transport = self._open()
        transport.send(self._head(method, path, query, fields) + data)
        return transport

    def upload(self, method: str, path: str, query: Query, pieces: Iterable[bytes]) -> Response:
        """Sends a body of unknown length in chunks. An engine that answers early (an error) ends the upload."""
        transport = self._open()
        fields = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        transport.send(self._head(method, path, query, fields))
        try:
            for piece in filter(None, pieces):  # an empty chunk would be the last
                transport.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            transport.send(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        return _checked(Response(self, transport, method))

    def value(self, method: str, path: str, query: Query = (), body: Any = None) -> Any:
        """The JSON value of the answer; None when it has no body."""
        data = self.request(method, path, query, body).read()
        if not data.strip():
            return None
        try:
            return loads(data)
        except ValueError as error:
            raise CliError(f"the docket daemon's answer to {method} {path} cannot be read: {error}") from None

    def hijack(self, path: str, query: Query = (), body: Any = None) -> tuple[Transport, bytes, str]:
        """Upgrades a POST to a raw stream: the connection, what arrived with the head, and the content type."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        response = self.request("POST", path, query, body, headers)
        if response.status not in (101, 200):
            raise CliError(f"the docket daemon did not open a stream for {path} (status {response.status})")
        transport, early = response.take()
        return transport, early, response.headers.get("content-type", "")

    def _open(self) -> Transport:
        idle, self._idle = self._idle, None
        if idle is not None:
            import select

            # A readable idle connection has been closed by the engine, or says what nobody asked for.
            poll = select.poll()
            poll.register(idle.fileno(), select.POLLIN)
            if not poll.poll(0):
                return idle
            idle.close()
        return self._connect()

    def _head(self, method: str, path: str, query: Query, fields: dict[str, str]) -> bytes:
        text = "&".join(f"{name}={quote(value)}" for name, value in query)
        target = f"{self._prefix}{path}{'?' if text else ''}{text}"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", "User-Agent: docket-cli"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def _checked(response: Response) -> Response:
    if response.status < 400:
        return response
    data = response.read().decode("utf-8", "replace").strip()
    try:
        message = loads(data)["message"]
    except (ValueError, KeyError, TypeError):
        message = data or f"status {response.status}"
    raise EngineError(printable_text(str(message)).strip(), response.status)

"""A scripted engine for tests of the CLI: threads and sockets, no event loop, no docket code.

It listens on a unix socket in a temporary directory, keeps every request that it received and answers from a table of
`(method, path pattern) → reply`. A pattern is matched against the path without its `/v1.NN` prefix and query. A reply is a
`Reply`, or a function from the request and the connection that returns one (or `None` when it has answered by itself, as
attach does). What no rule matches is 404, as a real engine answers.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    target: str

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer: a value becomes JSON, bytes go out as they are; `chunks` makes it a chunked stream."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] | None = None


Handler = Callable[[Request, socket.socket], "Reply | None"]


def frame(stream: int, data: bytes) -> bytes:
    """One frame of a multiplexed stream: 1 is stdout, 2 stderr."""
    return struct.pack(">BxxxL", stream, len(data)) + data


def upgrade(connection: socket.socket, content_type: str = "application/vnd.docker.multiplexed-stream") -> None:
    """Answers 101, after which the connection belongs to the handler."""
    head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    connection.sendall(head.encode())


def read_to_end(connection: socket.socket) -> bytes:
    """All that the client writes until it half-closes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


class FakeEngine:
    """The engine itself; a context manager that listens inside its block."""

    def __init__(self, directory: Path) -> None:
        self.socket_path = directory / "engine.sock"
        self.host = f"unix://{self.socket_path}"
        self.requests: list[Request] = []
        self._rules: list[tuple[str, re.Pattern[str], Reply | Handler]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._connections: list[socket.socket] = []
        self.on("HEAD", "/_ping", Reply(headers={"Api-Version": "1.50", "Ostype": "linux"}))

    def on(self, method: str, pattern: str, reply: Reply | Handler) -> None:
        """Adds a rule; the newest that matches wins."""
        self._rules.insert(0, (method, re.compile(pattern), reply))

    def seen(self, method: str, path: str) -> list[Request]:
        """The requests of this method whose path matches the pattern, in order."""
        return [request for request in self.requests if request.method == method and re.fullmatch(path, request.path)]

    def lines(self) -> list[str]:
        """The requests as `METHOD path`, in order, without pings."""
        return [f"{request.method} {request.path}" for request in self.requests if request.path != "/_ping"]

    def __enter__(self) -> Self:
        self._listener.bind(str(self.socket_path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown wakes the thread that is blocked in accept; close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            reader = connection.makefile("rb")
            while (request := _read_request(reader)) is not None:
                self.requests.append(request)
                if not self._answer(request, connection):
                    break
        except OSError:
            return
        finally:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def _answer(self, request: Request, connection: socket.socket) -> bool:
        """Answers and says whether the connection goes on."""
        for method, pattern, rule in self._rules:
            if method == request.method and pattern.fullmatch(request.path):
                reply = rule if isinstance(rule, Reply) else rule(request, connection)
                if reply is None:
                    return False
                _send(connection, reply, head_only=request.method == "HEAD")
                return True
        _send(connection, Reply(404, {"message": "page not found"}), head_only=request.method == "HEAD")
        return True


def _read_request(reader: Any) -> Request | None:
    line = reader.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    parts = urllib.parse.urlsplit(target)
    path = re.sub(r"^/v\d+\.\d+", "", urllib.parse.unquote(parts.path))
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    return Request(method, path, query, headers, _read_body(reader, headers), target)


def _read_body(reader: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        pieces = []
        while (size := int(reader.readline(), 16)) > 0:
            pieces.append(reader.read(size))
            reader.readline()
        reader.readline()
        return b"".join(pieces)
    return bytes(reader.read(int(headers.get("content-length", "0"))))


def _send(connection: socket.socket, reply: Reply, head_only: bool) -> None:
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    headers = {"Api-Version": "1.50", **reply.headers}
    if not isinstance(reply.body, bytes):
        headers.setdefault("Content-Type", "application/json")
    if reply.chunks is not None:
        headers["Transfer-Encoding"] = "chunked"
    elif reply.status != 204:
        headers["Content-Length"] = str(len(body))
    head = f"HTTP/1.1 {reply.status} Status\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    connection.sendall(head.encode())
    if head_only or reply.status == 204:
        return
    if reply.chunks is None:
        connection.sendall(body)
        return
    for chunk in reply.chunks:
        connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    connection.sendall(b"0\r\n\r\n")

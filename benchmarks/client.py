"""A Docker Engine API client over a unix socket, small enough that its own time does not matter."""

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlencode

VERSION = "/v1.41"
CHUNK_BYTES = 1 << 20


class ApiError(Exception):
    """The engine answered with an error status."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Client:
    """One kept-alive connection to an engine."""

    def __init__(self, path: str) -> None:
        self._connection = _UnixConnection(path)

    def request(self, method: str, path: str, body: object = None, **query: object) -> http.client.HTTPResponse:
        """Sends one request and returns the response with its body unread. Raises ApiError from status 400 on."""
        target = VERSION + path + ("?" + urlencode(query) if query else "")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self._connection.request(method, target, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        if response.status >= 400:
            raise ApiError(f"{method} {path}: {response.status} {response.read()[:300].decode(errors='replace')}")
        return response

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Sends one request and returns its decoded answer, or None for an empty one."""
        data = self.request(method, path, body, **query).read()
        return json.loads(data) if data.strip() else None

    def drain(self, method: str, path: str, body: object = None, **query: object) -> int:
        """Sends one request, throws its answer away and returns how many bytes it had."""
        response = self.request(method, path, body, **query)
        size = 0
        while chunk := response.read(CHUNK_BYTES):
            size += len(chunk)
        return size

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    # The steps of a container's life, as every scenario takes them.

    def create(self, image: str, command: list[str], name: str = "", *, host: dict[str, object] | None = None) -> str:
        """Creates a container without a network and returns its id. `host` adds to its HostConfig."""
        body = {"Image": image, "Cmd": command, "HostConfig": {"NetworkMode": "none", **(host or {})}}
        query: dict[str, object] = {"name": name} if name else {}
        return str(self.call("POST", "/containers/create", body, **query)["Id"])

    def start(self, container: str) -> None:
        """Starts a created container."""
        self.call("POST", f"/containers/{container}/start")

    def wait(self, container: str) -> None:
        """Waits until a container has exited."""
        self.call("POST", f"/containers/{container}/wait")

    def remove(self, container: str) -> None:
        """Removes a container, running or not."""
        self.call("DELETE", f"/containers/{container}", force="true")

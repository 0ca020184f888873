"""What a command runs with: where the engine is, the client for it, and standard output.

The engine's address is, in this order: `-H`, `DOCKET_HOST`, `DOCKER_HOST`, the default socket. Only where none was named does a
command start an engine by itself. `DOCKET_API_VERSION` and `DOCKER_API_VERSION` choose another version of the API than 1.50.
"""

from __future__ import annotations

import os

from docket.cli.client import Client
from docket.cli.connect import DEFAULT_SOCKET, Address, Transport, connect
from docket.cli.errors import ConnectError, ExitStatus

API_VERSION = "1.50"


class TlsSettings:
    """Files of the client's side; `verify` off is `--tls`, which encrypts without checking who answers."""

    __slots__ = ("ca", "certificate", "key", "verify")

    def __init__(self, verify: bool, ca: str, certificate: str, key: str) -> None:
        self.verify = verify
        self.ca = ca
        self.certificate = certificate
        self.key = key


class Context:
    """One invocation. Output is bytes in a buffer that `flush` writes; a reader that has gone ends the program as SIGPIPE would."""

    def __init__(self, host: str | None = None, tls: TlsSettings | None = None) -> None:
        named = host or os.environ.get("DOCKET_HOST") or os.environ.get("DOCKER_HOST")
        self.host = named or f"unix://{DEFAULT_SOCKET}"
        self._named = named is not None
        self._tls = tls
        self._client: Client | None = None
        self._buffer: list[bytes] = []

    def api_version(self) -> str:
        return os.environ.get("DOCKET_API_VERSION") or os.environ.get("DOCKER_API_VERSION") or API_VERSION

    def client(self) -> Client:
        """The client, made at first use; nothing is connected before the first request."""
        if self._client is None:
            address = Address(self.host)
            self._client = Client(lambda: self._connect(address), address.header(), f"/v{self.api_version()}")
        return self._client

    def _connect(self, address: Address) -> Transport:
        try:
            return connect(address, self._tls)
        except ConnectError as error:
            if self._named or os.geteuid() != 0:
                raise _explained(error, address, self._named) from None
        from docket.cli.autostart import autostart

        autostart(address.path)
        return connect(address, self._tls)

    def write(self, text: str) -> None:
        """Adds to standard output."""
        self._buffer.append(encode(text))

    def line(self, text: str) -> None:
        """Adds one line to standard output."""
        self._buffer.append(encode(text) + b"\n")

    def flush(self) -> None:
        """Writes what was added."""
        data = b"".join(self._buffer)
        self._buffer.clear()
        write_all(1, data)

    def warn(self, text: str) -> None:
        """Says one line on standard error, after what standard output had so far."""
        self.flush()
        write_all(2, encode(text) + b"\n")


def _explained(error: ConnectError, address: Address, named: bool) -> ConnectError:
    """Not root and no engine on the default socket: say what to do."""
    if named or isinstance(error.__cause__, PermissionError):
        return error
    return ConnectError(
        f"docket: cannot reach the docket daemon at {address.text}: nothing answers there: "
        "start one as root (docket daemon), or name a running one with -H or DOCKET_HOST"
    )


def encode(text: str) -> bytes:
    """UTF-8; bytes of arguments and file names that are not UTF-8 come out as they came in."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes everything, also to a descriptor that someone made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            import select

            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
        except BrokenPipeError:
            raise ExitStatus(141) from None

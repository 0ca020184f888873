"""Where the engine is, and the connection to it: unix sockets, plain TCP, TCP with TLS.

`_socket` is used directly: importing `socket` costs 7 ms for wrappers that a client of a handful of requests does not need. A
transport blocks on `receive` and `send`; only `try_send` does not, so that a hijacked stream can be written to while it is read.
"""

from __future__ import annotations

import _socket
import errno
import os

from docket.cli.errors import CliError, ConnectError
from docket.cli.sanitise import printable
from docket.cli.values import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import TlsSettings

DEFAULT_SOCKET = "/run/docket/docket.sock"
_MSG_DONTWAIT, _MSG_NOSIGNAL = _socket.MSG_DONTWAIT, _socket.MSG_NOSIGNAL


class Transport:
    """A connected byte stream over a socket."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, size: int = 65536) -> bytes:
        """What has arrived, waiting for something; empty at the end of the stream."""
        return self._socket.recv(size)

    def buffered(self) -> bool:
        """Whether `receive` would return at once although the descriptor is not readable."""
        return False

    def send(self, data: bytes) -> None:
        self._socket.sendall(data, _MSG_NOSIGNAL)

    def try_send(self, data: bytes) -> int:
        """Sends what fits without waiting and returns how much that was."""
        try:
            return self._socket.send(data, _MSG_DONTWAIT | _MSG_NOSIGNAL)
        except BlockingIOError:
            return 0

    def close_write(self) -> None:
        """Ends this side's stream; reading goes on."""
        try:
            self._socket.shutdown(_socket.SHUT_WR)
        except OSError as error:
            # The engine may have closed first; then there is nothing left to end.
            if error.errno != errno.ENOTCONN:
                raise

    def close(self) -> None:
        self._socket.close()


class Address:
    """A parsed host: `unix:///path` or `tcp://name:port`."""

    __slots__ = ("host", "path", "port", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.path = self.host = ""
        self.port = 0
        scheme, separator, rest = text.partition("://")
        if scheme == "unix" and separator:
            self.path = rest or DEFAULT_SOCKET
        elif scheme == "tcp" and separator:
            self.host, self.port = _host_port(rest, text)
        else:
            raise CliError(
                f"unable to parse docker host `{printable(text)}`: expected unix:///path/to/socket or tcp://host:port"
            )

    def header(self) -> str:
        """What the `Host` header says."""
        if self.path:
            return "docket"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host_port(rest: str, text: str) -> tuple[str, int]:
    authority = rest.partition("/")[0]
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port = authority, "2375"
    host = host.removeprefix("[").removesuffix("]")
    if not is_number(port) or not 0 < int(port) < 65536:
        raise CliError(f"unable to parse docker host `{printable(text)}`: the port must be between 1 and 65535")
    return host or "127.0.0.1", int(port)


def connect(address: Address, tls: TlsSettings | None) -> Transport:
    """A connection to the engine; raises ConnectError when none answers, OSError for what is wrong besides."""
    try:
        sock = _connect_unix(address.path) if address.path else _connect_tcp(address)
    except PermissionError as error:
        raise ConnectError(
            f"docket: cannot reach the docket daemon at {printable(address.text)}: permission denied: "
            "run as root, or as a member of the group that owns the socket"
        ) from error
    except OSError as error:
        text = f"Cannot connect to the docket daemon at {printable(address.text)}. Is the docket daemon running?"
        raise ConnectError(text) from error
    if tls is None or address.path:
        return Transport(sock)
    from docket.cli.tls import TlsTransport

    return TlsTransport(sock, address.host, tls)


def _connect_unix(path: str) -> _socket.socket:
    if len(os.fsencode(path)) > 107:
        raise CliError(f"socket path {printable(path)} is longer than the 107 bytes that Linux allows: choose a shorter one")
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    sock.connect(path)
    return sock


def _connect_tcp(address: Address) -> _socket.socket:
    failure: OSError | None = None
    for family, kind, protocol, _name, target in _socket.getaddrinfo(address.host, address.port, 0, _socket.SOCK_STREAM):
        sock = _socket.socket(family, kind, protocol)
        try:
            sock.connect(target)
        except OSError as error:
            failure = error
            sock.close()
            continue
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        return sock
    raise failure or OSError(errno.EHOSTUNREACH, "no address")

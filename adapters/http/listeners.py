"""Where the server listens: unix sockets, TCP, and sockets that systemd hands over.

    unix:///run/docket/docket.sock    see unix_socket.py
    tcp://127.0.0.1:2376              with TLS and client certificates, or `insecure_tcp=True` (TLS that only encrypts, or none)
    fd://                             every socket of LISTEN_FDS (sd_listen_fds(3))

Whoever reaches the API is root on this host, so TCP without client certificates is refused unless asked for by that name.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from docket.adapters.http.errors import ListenError
from docket.adapters.http.hijack import AnyStream
from docket.adapters.http.peer import Peer, tcp_peer, tls_peer, unix_peer
from docket.adapters.http.tls import TlsConfig, server_context
from docket.adapters.http.unix_socket import bind_unix

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["ListenError", "Listener", "TlsConfig", "open_listeners"]

BACKLOG = 1024
_FIRST_PASSED_FD = 3
# A peer that vanished without a word is noticed after 30 + 3 x 10 s.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


@dataclass(slots=True)
class Listener:
    """One listening socket; `close` may be called more than once."""

    address: str
    socket: trio.socket.SocketType
    tls: "SSLContext | None" = None
    names: frozenset[str] = frozenset()
    unlink: Callable[[], None] | None = None

    @property
    def is_tcp(self) -> bool:
        """Whether clients come over a network, loopback included."""
        return self.socket.family != socket.AF_UNIX

    @property
    def is_open_to_anybody(self) -> bool:
        """Whether clients need no certificate and no permission on a socket's file."""
        return self.is_tcp and (self.tls is None or not self.tls.verify_mode)

    async def identify(self, sock: trio.socket.SocketType, seconds: float) -> tuple[AnyStream, Peer]:
        """Make a stream of an accepted socket and say who is there.

        Raises trio.BrokenResourceError for a failed TLS handshake, trio.TooSlowError for one that takes more than `seconds`.
        """
        stream = trio.SocketStream(sock)
        if not self.is_tcp:
            return stream, unix_peer(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        address = str(sock.getpeername()[0])
        if self.tls is None:
            return stream, tcp_peer(address)
        secured = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        with trio.fail_after(seconds):
            await secured.do_handshake()
        certificate = secured.getpeercert()
        return secured, tls_peer(certificate, address) if certificate else tcp_peer(address)

    def known_hosts(self, sock: trio.socket.SocketType) -> frozenset[str]:
        """Names by which clients of this connection may call us: those configured, and the address they reached."""
        return self.names | {str(sock.getsockname()[0]).lower()}

    def close(self) -> None:
        """Stop listening, and remove the socket's file if it is still ours."""
        if self.socket.fileno() >= 0:
            if self.unlink is not None:
                self.unlink()
            self.socket.close()


def open_listeners(
    address: str,
    *,
    tls: TlsConfig | None = None,
    insecure_tcp: bool = False,
    socket_group: str | int | None = None,
    socket_mode: int = 0o660,
    allowed_hosts: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> list[Listener]:
    """Open what `address` names; raises ListenError with a sentence that says what to do."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("unix", "tcp", "fd"):
        raise ListenError(f"cannot listen on '{address}': use unix:///path, tcp://host:port or fd://")
    if scheme == "unix":
        bound, unlink = bind_unix(rest, group=socket_group, mode=socket_mode)
        bound.listen(BACKLOG)
        return [Listener(address, trio.socket.from_stdlib_socket(bound), unlink=unlink)]
    names = frozenset(name.lower().rstrip(".") for name in allowed_hosts)
    if scheme == "tcp":
        return _open_tcp(address, rest, _tcp_security(address, tls, insecure_tcp), names)
    return _open_passed(rest, tls, insecure_tcp, names, os.environ if environ is None else environ)


def _tcp_security(address: str, tls: TlsConfig | None, insecure_tcp: bool) -> "SSLContext | None":
    if tls is not None and (tls.ca or insecure_tcp):
        return server_context(tls)
    if insecure_tcp:
        return None
    raise ListenError(
        f"cannot listen on '{address}' without client certificates: whoever connects would be root on this host; "
        "ask for certificates with --tlsverify, or allow it with --insecure-tcp"
    )


def _open_tcp(address: str, rest: str, tls: "SSLContext | None", names: frozenset[str]) -> list[Listener]:
    host, separator, port = rest.rstrip("/").rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ListenError(f"cannot listen on '{address}': use tcp://host:port with a port from 0 to 65535")
    host = host.strip("[]")
    known = names | {host.lower()} if host else names
    listeners: list[Listener] = []
    try:
        found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, target in dict.fromkeys((entry[0], entry[4]) for entry in found):
            sock = _listen_tcp(family, target)
            bound = sock.getsockname()
            literal = f"[{bound[0]}]" if family == socket.AF_INET6 else bound[0]
            listeners.append(Listener(f"tcp://{literal}:{bound[1]}", trio.socket.from_stdlib_socket(sock), tls, known))
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise ListenError(f"cannot listen on '{address}': {error.strerror or error}") from error
    return listeners


def _listen_tcp(family: socket.AddressFamily, target: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _open_passed(
    rest: str, tls: TlsConfig | None, insecure_tcp: bool, names: frozenset[str], environ: Mapping[str, str]
) -> list[Listener]:
    if rest not in ("", "*"):
        raise ListenError(f"cannot listen on 'fd://{rest}': use fd:// for every socket that systemd passes")
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isascii() or not count.isdigit() or int(count) < 1:
        raise ListenError("cannot listen on 'fd://': systemd passed no sockets to this process; start it from a socket unit")
    descriptors = range(_FIRST_PASSED_FD, _FIRST_PASSED_FD + int(count))
    return [_adopt(descriptor, tls, insecure_tcp, names) for descriptor in descriptors]


def _adopt(descriptor: int, tls: TlsConfig | None, insecure_tcp: bool, names: frozenset[str]) -> Listener:
    """Take over one passed socket, which must be a listening stream socket."""
    address = f"fd://{descriptor}"
    try:
        sock = socket.socket(fileno=descriptor)
        listening = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"cannot listen on '{address}': {error.strerror}") from error
    if not listening or sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        sock.detach()
        raise ListenError(f"cannot listen on '{address}': it is not a listening unix or TCP stream socket")
    sock.set_inheritable(False)
    security = None if sock.family == socket.AF_UNIX else _tcp_security(address, tls, insecure_tcp)
    return Listener(address, trio.socket.from_stdlib_socket(sock), security, names)

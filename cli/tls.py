"""The TLS transport: the only module of the CLI that imports `ssl`, and only commands that use TLS import it.

The TLS machine works on memory buffers and this class moves the bytes, because a hijacked stream needs what `ssl.SSLSocket` does
not give: sending without waiting, and ending this side's stream (close_notify) while the other side's goes on.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from docket.cli.connect import Transport
from docket.cli.errors import CliError
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from docket.cli.context import TlsSettings


class TlsTransport(Transport):
    """A TLS client over a connected socket; the handshake happens on construction."""

    def __init__(self, sock: _socket.socket, host: str, settings: TlsSettings) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = _context(settings).wrap_bio(self._incoming, self._outgoing, server_hostname=host)
            self._handshake()
        except ssl.SSLError as error:
            raise CliError(f"cannot speak TLS with the docket daemon at {printable(host)}: {_reason(error)}") from None

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
                continue
            self._flush()
            return

    def _flush(self) -> None:
        if data := self._outgoing.read():
            super().send(data)

    def _fill(self) -> None:
        if data := super().receive():
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def receive(self, size: int = 65536) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                # With TLS 1.3 a refused client certificate shows only at the first read.
                raise CliError(f"the TLS connection to the docket daemon failed: {_reason(error)}") from None

    def buffered(self) -> bool:
        return self._tls.pending() > 0 or self._incoming.pending > 0

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def try_send(self, data: bytes) -> int:
        # One record at a time: what the machine has taken must go out whole, and a record is short enough to wait for.
        taken = self._tls.write(data[:16384])
        self._flush()
        return taken

    def close_write(self) -> None:
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if settings.verify:
            context.load_verify_locations(settings.ca)
        if settings.certificate and settings.key:
            context.load_cert_chain(settings.certificate, settings.key)
    except OSError as error:
        names = ", ".join(printable(name) for name in (settings.ca, settings.certificate, settings.key) if name)
        raise CliError(f"cannot load the TLS files {names}: {error.strerror or error}") from None
    return context


def _reason(error: ssl.SSLError) -> str:
    return printable(getattr(error, "verify_message", "") or error.reason or str(error)).lower().replace("_", " ")

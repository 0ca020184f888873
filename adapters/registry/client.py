"""HTTP requests, one at a time: no redirects, no credentials, no second tries. What comes back is bounded in size and in time."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

import httpcore2
import msgspec
import trio

from docket import __version__
from docket.adapters.registry.addresses import Gate
from docket.adapters.registry.connector import Connector
from docket.adapters.registry.proxies import Proxies
from docket.adapters.registry.urls import Url
from docket.domain.registry import RegistryError

_MAX_CONNECTIONS = 8
_CLOSE_SECONDS = 2
_AGENT = f"docket/{__version__}"


class Limits(msgspec.Struct, frozen=True):
    """What a registry is given. Tests give less."""

    connect_seconds: float = 30
    read_seconds: float = 60
    """How long no byte may come."""
    document_seconds: float = 120
    """How long a whole manifest, token or error may take."""
    attempts: int = 5
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30
    stall_bytes: int = 16_384
    """A blob of which fewer bytes come within ``read_seconds`` is asked for anew."""
    chunk_bytes: int = 64 << 20
    """The most that is uploaded with one request."""


class Unreachable(RegistryError):
    """No connection, or none that is what it was to be (TLS)."""


class Cut(RegistryError):
    """The connection ended, or stood still, before the answer was whole. To ask again may help."""


class Answer:
    """An answer whose body has not been read yet. To be used as an asynchronous context manager."""

    def __init__(self, method: str, url: Url, response: httpcore2.Response, limits: Limits) -> None:
        self.method = method
        self.url = url
        self.status = response.status
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        self._response = response
        self._limits = limits

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises `Cut`."""
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except _ERRORS as error:
            raise Cut(f'{_verb(self.method)} "{self.url.shown}": {_reason(error)}') from error

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises `RegistryError` of the kind ``invalid`` for a longer one, `Cut`."""
        pieces, size = [], 0
        with trio.move_on_after(self._limits.document_seconds) as scope:
            async for chunk in self.chunks():
                size += len(chunk)
                if size > limit:
                    raise RegistryError(
                        f'{_verb(self.method)} "{self.url.shown}": the answer is longer than {limit} bytes', "invalid"
                    )
                pieces.append(chunk)
        if scope.cancelled_caught:
            raise Cut(f'{_verb(self.method)} "{self.url.shown}": the answer takes too long')
        return b"".join(pieces)

    async def close(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SECONDS), suppress(*_ERRORS):
            await self._response.aclose()

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


Body = bytes | Callable[[], AsyncGenerator[bytes, None]]
"""A body: as it is, or what gives it anew for each try."""


class HttpClient:
    """The connections of one job to one registry and to where it points."""

    def __init__(self, gate: Gate, proxies: Proxies, certificates: str, limits: Limits) -> None:
        """``certificates`` is a directory like Docker's ``certs.d``."""
        self.limits = limits
        self._gate = gate
        self._proxies = proxies
        self._certificates = certificates
        self._pools: dict[tuple[str, bool, bool, str], httpcore2.AsyncConnectionPool] = {}

    async def send(
        self,
        method: str,
        url: Url,
        headers: dict[str, str],
        content: Body | None = None,
        *,
        derived: bool,
        verify: bool = True,
    ) -> Answer:
        """Send a request; returns once the answer's head is there. Raises `Unreachable`, `Cut`."""
        pool = self._pool(url, derived=derived, verify=verify)
        body = content() if callable(content) else content
        fields = {"User-Agent": _AGENT, **headers}
        if body is None and method in {"POST", "PUT", "PATCH"}:
            body = b""
        if isinstance(body, bytes):
            fields["Content-Length"] = str(len(body))
        address = httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
        timeout = {
            "connect": self.limits.connect_seconds,
            "read": self.limits.read_seconds,
            "write": self.limits.read_seconds,
            "pool": None,
        }
        lines = [(name.encode(), value.encode()) for name, value in {"Host": url.authority, **fields}.items()]
        request = httpcore2.Request(method, address, headers=lines, content=body, extensions={"timeout": timeout})
        try:
            response = await pool.handle_async_request(request)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.ProxyError, ssl.SSLError) as error:
            raise Unreachable(f'{_verb(method)} "{url.shown}": {_reason(error)}') from error
        except _ERRORS as error:
            raise Cut(f'{_verb(method)} "{url.shown}": {_reason(error)}') from error
        return Answer(method, url, response, self.limits)

    def _pool(self, url: Url, *, derived: bool, verify: bool) -> httpcore2.AsyncConnectionPool:
        proxy = self._proxies.for_url(url)
        key = (url.authority if url.scheme == "https" else "", derived, verify, proxy)
        if key not in self._pools:
            context = _context(verify, f"{self._certificates}/{url.authority}") if url.scheme == "https" else None
            self._pools[key] = self._new_pool(context, proxy, derived=derived)
        return self._pools[key]

    def _new_pool(self, context: ssl.SSLContext | None, proxy: str, *, derived: bool) -> httpcore2.AsyncConnectionPool:
        if not proxy:
            check = functools.partial(self._gate.check, derived=derived)
            return httpcore2.AsyncConnectionPool(context, max_connections=_MAX_CONNECTIONS, network_backend=Connector(check))
        parts = urlsplit(proxy)
        login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        address = f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        return httpcore2.AsyncHTTPProxy(
            address, proxy_auth=login, ssl_context=context, max_connections=_MAX_CONNECTIONS,
            network_backend=httpcore2.TrioBackend(),
        )  # fmt: skip

    async def close(self) -> None:
        """Ends all connections."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SECONDS):
            for pool in self._pools.values():
                await pool.aclose()


_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.ProxyError,
    ssl.SSLError,
    OSError,
)


@functools.lru_cache(maxsize=1)
def _public_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _context(verify: bool, directory: str) -> ssl.SSLContext:
    """The system's authorities, and for a host those of its directory: ``*.crt`` authorities, ``*.cert``/``*.key`` for docket."""
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not os.path.isdir(directory):
        return _public_context()
    else:
        context = ssl.create_default_context()
    try:
        for file in sorted(Path(directory).iterdir()) if os.path.isdir(directory) else ():
            if file.suffix == ".crt" and verify:
                context.load_verify_locations(file)
            elif file.suffix == ".cert":
                context.load_cert_chain(file, file.with_suffix(".key"))
    except OSError as error:
        raise RegistryError(f"cannot load the certificates in {directory}: {error.strerror or error}") from error
    return context


def _verb(method: str) -> str:
    return method.capitalize()


def _reason(error: BaseException) -> str:
    """In Go's words where people know them."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"tls: failed to verify certificate: x509: {cause.verify_message or 'certificate is not valid'}"
        if isinstance(cause, ssl.SSLError):
            if "WRONG_VERSION_NUMBER" in (cause.reason or "") or "RECORD_LAYER" in (cause.reason or ""):
                return "http: server gave HTTP response to HTTPS client"
            return f"tls: {(cause.reason or str(cause)).lower().replace('_', ' ')}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore2.ReadTimeout | httpcore2.WriteTimeout):
        return "the registry does not answer in time"
    if isinstance(error, httpcore2.ReadError | httpcore2.WriteError | httpcore2.RemoteProtocolError):
        return "the connection ended before the answer was whole"
    return str(error) or type(error).__name__

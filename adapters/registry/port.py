"""`Registries`: the domain's registry port. What speaks HTTP is imported at the first use, which costs some 30 ms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from docket.domain.model.engine.settings import EngineSettings
from docket.domain.oci.reference import DEFAULT_DOMAIN, Reference
from docket.domain.registry import Credentials, Found, RegistryError

if TYPE_CHECKING:
    from docket.adapters.registry.addresses import Trusted
    from docket.adapters.registry.client import HttpClient, Limits
    from docket.adapters.registry.endpoints import Endpoint
    from docket.adapters.registry.repository import RemoteRepository

CERTIFICATES = "/etc/docker/certs.d"
_STATUS_OF_LOGIN = "login attempt to {address} failed with status: 401 Unauthorized"


class Registries:
    """Implements `docket.domain.registry.Registry`."""

    def __init__(self, environment: Mapping[str, str], certificates: str = CERTIFICATES, limits: Limits | None = None) -> None:
        """``environment`` names proxies; ``certificates`` has a directory for each host that needs its own."""
        self._environment = dict(environment)
        self._certificates = certificates
        self._limits = limits

    @asynccontextmanager
    async def open(
        self, reference: Reference, credentials: Credentials, settings: EngineSettings, *, push: bool = False
    ) -> AsyncIterator[RemoteRepository]:
        """See the port."""
        from docket.adapters.registry.repository import RemoteRepository

        async with self._client(settings) as (client, trusted):
            mirrors = () if push else settings.registry_mirrors
            endpoints = await _endpoints(reference.domain, trusted, mirrors)
            yield RemoteRepository(client, endpoints, reference, credentials, trusted, push=push)

    @asynccontextmanager
    async def _client(self, settings: EngineSettings) -> AsyncIterator[tuple[HttpClient, Trusted]]:
        from docket.adapters.registry.addresses import Gate, Trusted
        from docket.adapters.registry.client import HttpClient, Limits
        from docket.adapters.registry.proxies import proxies_of

        mirrors = [each.partition("://")[2].strip("/") for each in settings.registry_mirrors]
        trusted = Trusted([*settings.insecure_registries, *mirrors])
        client = HttpClient(Gate(trusted), proxies_of(self._environment), self._certificates, self._limits or Limits())
        try:
            yield client, trusted
        finally:
            await client.close()

    async def login(self, credentials: Credentials, settings: EngineSettings) -> str:
        """See the port."""
        from docket.adapters.registry.client import Unreachable
        from docket.adapters.registry.endpoints import domain_of
        from docket.adapters.registry.exchange import Exchange

        failure: RegistryError | None = None
        async with self._client(settings) as (client, trusted):
            for endpoint in await _endpoints(domain_of(credentials.server_address), trusted):
                exchange = Exchange(client, endpoint, credentials, trusted)
                url = endpoint.to("/v2/")
                try:
                    async with await exchange.send("GET", url, "", login=True):
                        return exchange.authorizer.identity_token
                except Unreachable as error:
                    failure = error
                except RegistryError as error:
                    if error.kind == "unauthorized" and str(error).startswith("unauthorized: authentication required"):
                        raise RegistryError(_STATUS_OF_LOGIN.format(address=url), "login refused") from error
                    raise RegistryError(str(error), "login refused" if error.kind == "unauthorized" else error.kind) from error
        raise failure or RegistryError(f"{credentials.server_address}: no endpoint")

    async def search(self, term: str, limit: int, credentials: Credentials, settings: EngineSettings) -> tuple[Found, ...]:
        """See the port. A term such as ``host:5000/name`` searches that registry."""
        from docket.adapters.registry.client import Unreachable
        from docket.adapters.registry.exchange import Exchange
        from docket.adapters.registry.searching import search_catalog, search_index

        domain, words = _split_term(term)
        failure: RegistryError | None = None
        async with self._client(settings) as (client, trusted):
            for endpoint in await _search_endpoints(domain, trusted):
                exchange = Exchange(client, endpoint, credentials, trusted)
                try:
                    return await search_index(exchange, words, limit)
                except Unreachable as error:
                    failure = error
                except RegistryError as error:
                    if domain == DEFAULT_DOMAIN or error.kind != "not found":
                        raise
                    return await search_catalog(exchange, words, limit)
        raise failure or RegistryError(f"{domain}: no endpoint")


def _split_term(term: str) -> tuple[str, str]:
    first, slash, rest = term.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return (
        (first.lower(), rest)
        if is_host and first != DEFAULT_DOMAIN
        else (DEFAULT_DOMAIN, rest if first == DEFAULT_DOMAIN else term)
    )


async def _search_endpoints(domain: str, trusted: Trusted) -> tuple[Endpoint, ...]:
    from docket.adapters.registry.endpoints import HUB_INDEX, Endpoint
    from docket.adapters.registry.urls import parse_url

    return (Endpoint(parse_url(HUB_INDEX)),) if domain == DEFAULT_DOMAIN else await _endpoints(domain, trusted)


async def _endpoints(domain: str, trusted: Trusted, mirrors: tuple[str, ...] = ()) -> tuple[Endpoint, ...]:
    """The domain's endpoints; whether it may be spoken to without TLS can depend on its addresses."""
    import httpcore2

    from docket.adapters.registry.addresses import is_loopback_name
    from docket.adapters.registry.connector import addresses_of
    from docket.adapters.registry.endpoints import endpoints_for, root_of

    root = root_of(domain)
    insecure = is_loopback_name(root.host) or trusted.names(root.host, root.port)
    if not insecure and trusted.has_networks:
        try:
            insecure = any(trusted.contains(each) for each in await addresses_of(root.host, root.port))
        except httpcore2.ConnectError:
            insecure = False  # the connection will say that there is no such host
    return endpoints_for(domain, insecure=insecure, mirrors=mirrors)

"""Which proxy a host is asked through, by the variables that every program reads: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.

This very machine is never asked through a proxy, as Go and so dockerd have it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import msgspec

from docket.adapters.registry.addresses import is_loopback_name
from docket.adapters.registry.urls import Url


class Proxies(msgspec.Struct, frozen=True):
    """Addresses of proxies; empty for none. ``excluded`` are names, ``.suffixes``, addresses, networks, or ``*``."""

    http: str = ""
    https: str = ""
    excluded: tuple[str, ...] = ()

    def for_url(self, url: Url) -> str:
        """The proxy for this address; empty for none."""
        proxy = self.https if url.scheme == "https" else self.http
        return "" if not proxy or is_loopback_name(url.host) or self._excludes(url) else proxy

    def _excludes(self, url: Url) -> bool:
        return any(_matches(each, url) for each in self.excluded)


def proxies_of(environment: Mapping[str, str]) -> Proxies:
    """The proxies that an environment names; names in lower case win, and what has no scheme is http."""

    def told(name: str) -> str:
        return environment.get(name.lower()) or environment.get(name) or ""

    http, https = (
        each if not each or "://" in each else f"http://{each}" for each in (told("HTTP_PROXY"), told("HTTPS_PROXY"))
    )
    return Proxies(http, https, tuple(each.strip().lower() for each in told("NO_PROXY").split(",") if each.strip()))


def _matches(pattern: str, url: Url) -> bool:
    if pattern == "*":
        return True
    name, _, port = pattern.rpartition(":") if pattern.count(":") == 1 else (pattern, "", "")
    if port and port != str(url.port):
        return False
    try:
        return ipaddress.ip_address(url.host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        suffix = name.removeprefix("*").removeprefix(".")
        return (url.host == suffix and not name.startswith((".", "*."))) or url.host.endswith(f".{suffix}")

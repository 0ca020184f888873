"""How far inside an address lies, and who may point there (S28).

A registry may send docket on: to a token service, to where a blob is stored, to where an upload goes on. What it names may lie
no further inside than the registry itself: one on the internet never leads to a machine of the site, one of the site never to
this very machine. Addresses of the link, where clouds keep their metadata and credentials, are nobody's to name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import IntEnum

from docket.domain.registry import RegistryError

_EMBEDDING = ipaddress.ip_network("64:ff9b::/96")


class Reach(IntEnum):
    """From the outside in."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    FORBIDDEN = 3


def reach_of(address: str) -> Reach:
    """How far inside the IP address lies; an IPv4 address inside an IPv6 one counts as what it is."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or _embedded(parsed)
        if inner is not None:
            parsed = inner
    if parsed.is_loopback:
        return Reach.LOOPBACK
    if parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return Reach.FORBIDDEN
    return Reach.PUBLIC if parsed.is_global else Reach.PRIVATE


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _EMBEDDING else None


def is_loopback_name(host: str) -> bool:
    """Whether the host is this machine whoever asks: ``localhost`` or a literal loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return reach_of(host) is Reach.LOOPBACK
    except ValueError:
        return False


class Trusted:
    """The hosts that the operator named: with a port, without one (then any), or as networks."""

    def __init__(self, registries: Iterable[str]) -> None:
        named = list(registries)
        self._names = {each.strip("[]") if each.endswith("]") else each for each in named if "/" not in each}
        self._networks = [ipaddress.ip_network(each) for each in named if "/" in each]

    @property
    def has_networks(self) -> bool:
        return bool(self._networks)

    def names(self, host: str, port: int) -> bool:
        """Whether the host itself was named."""
        bracketed = f"[{host}]" if ":" in host else host
        return bool({host, bracketed, f"{bracketed}:{port}"} & self._names)

    def contains(self, address: str) -> bool:
        """Whether the address lies in one of the networks."""
        parsed = ipaddress.ip_address(address.partition("%")[0])
        return any(parsed in network for network in self._networks)


class Gate:
    """Lets connections through, or not. One for each repository that is open."""

    def __init__(self, trusted: Trusted) -> None:
        self._trusted = trusted
        self._ceiling = Reach.FORBIDDEN

    def check(self, host: str, port: int, address: str, *, derived: bool) -> None:
        """Before the connection is made. ``derived`` tells that the registry named the host. Raises `RegistryError`."""
        reach = reach_of(address)
        if self._trusted.names(host, port) or self._trusted.contains(address):
            return
        if reach is Reach.FORBIDDEN:
            raise _refused(host, address, "no registry is there unless --insecure-registry names it")
        if derived and reach > min(self._ceiling, Reach.LOOPBACK):
            raise _refused(host, address, "the registry points to a machine that lies further inside than itself")
        if not derived:
            # A name whose answer changes is taken for what lies furthest outside of all that it was.
            self._ceiling = min(self._ceiling, reach)


def _refused(host: str, address: str, reason: str) -> RegistryError:
    where = host if host == address else f"{host} ({address})"
    return RegistryError(f"connection to {where} is refused: {reason}", "invalid")

"""Which endpoints a reference's domain stands for, in the order in which Docker tries them.

``docker.io`` is ``registry-1.docker.io``, after its mirrors when it is pulled from. Plain http is for this very machine and for
what ``--insecure-registry`` names, and there TLS without a check of the certificate is tried before it.
"""

from __future__ import annotations

import msgspec

from docket.adapters.registry.addresses import is_loopback_name
from docket.adapters.registry.urls import Url, parse_url
from docket.domain.oci.reference import DEFAULT_DOMAIN

HUB = "registry-1.docker.io"
HUB_INDEX = "https://index.docker.io"
INDEX_ADDRESS = "https://index.docker.io/v1/"


class Endpoint(msgspec.Struct, frozen=True):
    """One way to a registry. ``verify`` tells that its certificate must be right."""

    url: Url
    verify: bool = True
    mirror: bool = False

    def to(self, target: str) -> Url:
        """The address of something on it."""
        return msgspec.structs.replace(self.url, target=target)


def root_of(domain: str) -> Url:
    """The registry's own address, with TLS."""
    return parse_url(f"https://{HUB if domain == DEFAULT_DOMAIN else domain}/")


def endpoints_for(domain: str, *, insecure: bool, mirrors: tuple[str, ...] = ()) -> tuple[Endpoint, ...]:
    """The endpoints of a domain, best first; ``mirrors`` only where they may be asked."""
    root = root_of(domain)
    found = []
    if domain == DEFAULT_DOMAIN:
        for each in mirrors:
            mirror = parse_url(each)
            found.append(Endpoint(mirror, not is_loopback_name(mirror.host), mirror=True))
    if not insecure:
        return (*found, Endpoint(root))
    plain = msgspec.structs.replace(root, scheme="http", port=80 if root.port == 443 else root.port)
    return (*found, Endpoint(root, verify=False), Endpoint(plain, verify=False))


def domain_of(server_address: str) -> str:
    """The domain that a login's server address means: ``https://index.docker.io/v1/`` is Docker Hub."""
    name = server_address.strip()
    for scheme in ("https://", "http://"):
        name = name.removeprefix(scheme)
    name = name.partition("/")[0].lower()
    return DEFAULT_DOMAIN if name in {"", "index.docker.io", "docker.io", HUB} else name

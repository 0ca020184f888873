"""Keeps web pages away from an API on TCP (S44).

A browser on this host can reach a loopback port: a foreign page posts a form to it, or its own name is made to resolve to
127.0.0.1 (DNS rebinding). Both betray themselves. A page's request carries `Origin` or `Sec-Fetch-Site`, and a rebound one carries
the foreign name in `Host`; literal addresses cannot be rebound. Unix sockets need none of this: no browser can open them.
"""

import ipaddress
import re

from docket.adapters.http.errors import HttpError

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::[0-9]{1,5})?")


def check_browser(headers: dict[str, str], known_hosts: frozenset[str]) -> None:
    """Raise HttpError 403 for what only a web page would send, and for unknown host names."""
    if "origin" in headers:
        raise HttpError(403, "requests from web pages are refused: the request has an Origin header")
    if headers.get("sec-fetch-site", "none").lower() not in ("none", "same-origin"):
        raise HttpError(403, "requests from web pages are refused: Sec-Fetch-Site is not same-origin")
    host = headers.get("host", "")
    if not is_known_host(host, known_hosts):
        raise HttpError(
            403, f"host {host!r} is not a name of this engine: use its address, or add the name to its allowed hosts"
        )


def is_known_host(host: str, known_hosts: frozenset[str]) -> bool:
    """Whether a Host field names localhost, a loopback address or one of `known_hosts`, with any port."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]").rstrip(".").lower()
    return name == "localhost" or name in known_hosts or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

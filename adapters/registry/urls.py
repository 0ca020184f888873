"""Addresses of the web in one reading: what is checked is exactly what is connected to.

Everything that two programs could read differently is refused: other schemes than http and https, user names, control characters,
backslashes, and hosts that are no plain name or address.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urljoin, urlsplit

import msgspec

from docket.domain.registry import RegistryError

MAX_URL_LENGTH = 8192
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)
_NUMERIC = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+))*", re.ASCII)
_PORTS = {"http": 80, "https": 443}


class Url(msgspec.Struct, frozen=True):
    """An absolute http address. ``host`` is in lower case and has no brackets; ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port: as in a ``Host`` header."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def path(self) -> str:
        """The target without its query, which may hold a signature."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def shown(self) -> str:
        """For people: without the query."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(text: str, base: Url | None = None) -> Url:
    """Returns the address, relative to ``base`` if it is relative. Raises `RegistryError` of the kind ``invalid``."""
    if len(text) > MAX_URL_LENGTH or not _VISIBLE.fullmatch(text) or "\\" in text:
        raise _refused(text, "it has characters that no address has, or is too long")
    try:
        parts = urlsplit(urljoin(str(base), text) if base is not None else text)
        port = parts.port
    except ValueError as error:
        raise _refused(text, str(error)) from error
    if parts.scheme not in _PORTS:
        raise _refused(text, "only http and https are followed")
    if parts.username is not None or parts.password is not None:
        raise _refused(text, "it names a user")
    host = _host(parts.hostname or "", text)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, target)


def _host(name: str, text: str) -> str:
    if ":" in name:
        try:
            if "%" in name:
                raise ValueError("a zone means something on one machine only")
            return str(ipaddress.IPv6Address(name))
        except ValueError as error:
            raise _refused(text, "its host is no address") from error
    if not _HOST.fullmatch(name) or ".." in name:
        raise _refused(text, "its host is no name or address")
    if _NUMERIC.fullmatch(name):
        # 127.1, 0x7f.1 and 2130706433 are loopback addresses to some programs and names to others.
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as error:
            raise _refused(text, "its host is no address in the usual form") from error
    return name.lower().rstrip(".")


def _refused(text: str, reason: str) -> RegistryError:
    shown = text.partition("?")[0][:200].encode("ascii", "backslashreplace").decode()
    return RegistryError(f"address {shown!r} is refused: {reason}", "invalid")

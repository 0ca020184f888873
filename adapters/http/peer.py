"""Who is on the other end of a connection, as the kernel or the client's certificate says it (S56).

Nothing in a request can change it. Names are for people: the numbers and the subject are what was checked.
"""

import socket
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

_UCRED = struct.Struct("=iII")  # pid, uid, gid: struct ucred of unix(7)


@dataclass(frozen=True, slots=True)
class Peer:
    """One client; `uid`, `gid` and `pid` on a unix socket, `subject` with a TLS certificate, `address` on TCP."""

    transport: Literal["unix", "tcp", "tls"]
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    subject: str | None = None
    address: str | None = None

    @property
    def actor(self) -> str:
        """One printable line that names the client in the log."""
        if self.transport == "unix":
            return f"uid={self.uid} gid={self.gid} pid={self.pid}{_user_suffix(self.uid)}"
        if self.transport == "tls":
            return f"tls subject={self.subject}"
        return f"tcp address={self.address}"


def unix_peer(sock: Any) -> Peer:
    """The process that called connect(), from SO_PEERCRED; raises OSError."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(credentials)
    return Peer("unix", uid=uid, gid=gid, pid=pid)


def tcp_peer(address: str) -> Peer:
    """A client nobody has authenticated (`insecure_tcp`)."""
    return Peer("tcp", address=address)


def tls_peer(certificate: dict[str, Any], address: str) -> Peer:
    """The subject of a verified client certificate, as `CN=alice,O=ops`; escaped so that it stays one printable line (S55)."""
    names = [f"{_short(name)}={_printable(value)}" for part in certificate.get("subject", ()) for name, value in part]
    return Peer("tls", subject=",".join(names) or "(empty)", address=address)


def _short(name: str) -> str:
    known = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}
    return known.get(name, name)


def _printable(text: str) -> str:
    """Escape control characters, and the two that separate the parts of a subject."""
    escaped = text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped)


@lru_cache(maxsize=256)
def _user_suffix(uid: int | None) -> str:
    """The user's name where the host knows one; containers and removed users have none."""
    try:
        import pwd

        return f" user={_printable(pwd.getpwuid(uid or 0).pw_name)}"
    except (ImportError, KeyError, OverflowError):
        return ""

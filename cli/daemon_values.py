"""What the daemon's options may hold, each checked in dockerd's words. Every function raises ValueError."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from docket.domain.confinement.cgroup_parent import check_cgroup_parent, check_slice
from docket.domain.confinement.sizes import parse_size
from docket.domain.confinement.ulimits import check_ulimit
from docket.domain.errors import Rejected
from docket.domain.model.container.spec import Ulimit
from docket.domain.model.engine.settings import EngineSettings

DEFAULT_SOCKET = "/run/docket/docket.sock"
LEVELS = ("debug", "info", "warn", "error", "fatal")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]")


def log_level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(f"invalid logging level: {text}")
    return text


def labels(texts: Iterable[str]) -> tuple[str, ...]:
    """``key=value``, no key with two values; the same label twice is one."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ValueError(f"bad attribute format: {text}")
        if found.setdefault(key, value) != value:
            raise ValueError(f"conflict labels for {key}={value} and {key}={found[key]}")
    return tuple(f"{key}={value}" for key, value in found.items())


def insecure_registries(texts: Iterable[str]) -> tuple[str, ...]:
    """Names with or without a port, or networks in CIDR notation. A URL's ``http://`` is taken off, as dockerd does."""
    found = []
    for text in texts:
        name = text.strip().lower()
        for scheme in ("http://", "https://"):
            name = name.removeprefix(scheme)
        if "://" in name:
            raise ValueError(f"insecure registry {text} should not contain '://'")
        found.append(_network(name) if "/" in name else _registry(name))
    return tuple(dict.fromkeys(found))


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError(
            f"insecure registry {text} is not valid: name a host, host:port, or a network such as 10.0.0.0/8"
        ) from None


def _registry(text: str) -> str:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, ""
    if not _HOST.fullmatch(host):
        raise ValueError(f'insecure registry {text} is not valid: invalid host "{host}"')
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f'insecure registry {text} is not valid: invalid port "{port}"')
    return text


def registry_mirrors(texts: Iterable[str]) -> tuple[str, ...]:
    """``http`` or ``https`` addresses of registries; given back with a final slash."""
    found = []
    for text in texts:
        url = urlsplit(text.strip())
        if url.scheme not in ("http", "https"):
            raise ValueError(f'invalid mirror: unsupported scheme "{url.scheme}" in "{text}"')
        if not url.netloc or url.username is not None:
            raise ValueError(f'invalid mirror: "{text}" needs a host, and takes no user')
        if url.path not in ("", "/") or url.query or url.fragment:
            raise ValueError(f'invalid mirror: path, query, or fragment at end of the URI "{text}"')
        found.append(f"{url.scheme}://{url.netloc}/")
    return tuple(dict.fromkeys(found))


def ulimits(limits: Iterable[Ulimit]) -> tuple[Ulimit, ...]:
    """One limit for each name."""
    try:
        return tuple({limit.name: check_ulimit(limit) for limit in limits}.values())
    except Rejected as error:
        raise ValueError(str(error)) from None


def ulimits_of_file(value: Mapping[str, Any]) -> tuple[Ulimit, ...]:
    """daemon.json's form: ``{"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}}``."""
    found = []
    for name, limit in value.items():
        if not isinstance(limit, dict) or not set(limit) <= {"Name", "Soft", "Hard"} or limit.get("Name", name) != name:
            raise ValueError(f'default-ulimits: {name} must be an object with "Name", "Soft" and "Hard"')
        numbers = limit.get("Soft", 0), limit.get("Hard", 0)
        if not all(type(number) is int for number in numbers):
            raise ValueError(f"default-ulimits: soft and hard limit of {name} must be whole numbers")
        found.append(Ulimit(name, *numbers))
    return ulimits(found)


def size(text: str | int) -> int:
    """Bytes, from ``64m`` or a number."""
    try:
        found = text if type(text) is int else parse_size(str(text))
    except Rejected as error:
        raise ValueError(str(error)) from None
    if found <= 0:
        raise ValueError(f"invalid size: '{text}'")
    return found


def log_options(options: Mapping[str, str]) -> tuple[int, int]:
    """``max-size`` in bytes and ``max-file``, or their defaults. Output is always limited, so -1 and 0 are refused."""
    max_bytes, files = EngineSettings().log_max_bytes, EngineSettings().log_files
    for name, value in options.items():
        if name == "max-size":
            max_bytes = size(value)
        elif name == "max-file":
            if not (value.isascii() and value.isdigit()) or not 0 < int(value) <= 1000:
                raise ValueError(f"max-file cannot be {value}: it is a number from 1 to 1000")
            files = int(value)
        else:
            raise ValueError(f"failed to set log opts: unknown log opt '{name}' for json-file log driver")
    return max_bytes, files


def log_options_of_flags(texts: Iterable[str]) -> dict[str, str]:
    """``--log-opt max-size=10m``."""
    pairs = [text.partition("=") for text in texts]
    for key, equals, value in pairs:
        if not equals:
            raise ValueError(f"invalid log opt '{key}{value}': it is name=value")
    return {key: value for key, _, value in pairs}


def host(text: str, *, tls: bool) -> str:
    """An address with what dockerd adds: its scheme, and of ``tcp://`` the loopback address and the usual port."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", text.strip()
    if scheme == "unix":
        return f"unix://{rest or DEFAULT_SOCKET}"
    if scheme != "tcp":
        return text.strip()
    name, colon, port = rest.rstrip("/").rpartition(":")
    if not colon or rest.endswith("]"):
        name, port = rest.rstrip("/"), "2376" if tls else "2375"
    return f"tcp://{name or '127.0.0.1'}:{port}"


def shutdown_timeout(seconds: int) -> int:
    if not 0 <= seconds <= 3600:
        raise ValueError(f"invalid shutdown timeout {seconds}: it is a number of seconds from 0 to 3600")
    return seconds


def retained(name: str, number: int) -> int:
    """How many events, or days of archives, are kept; 0 for all. Raises ValueError."""
    if number < 0:
        raise ValueError(f"{name} must be 0 or more, not {number}: 0 keeps all")
    return number


def recordings_size(text: str | int) -> int:
    """How much of recordings, or of archives, is kept, 0 for none. Raises ValueError."""
    return 0 if str(text) == "0" else size(text)


def recordings_days(days: int) -> int:
    """How long recordings are kept. Raises ValueError."""
    if days < 1:
        raise ValueError(f"recordings-max-days must be 1 or more, not {days}: recordings-max-size 0 keeps none")
    return days


def cgroup_driver(texts: Iterable[str]) -> str:
    """The driver of ``native.cgroupdriver=``; the last one counts, as with dockerd. Raises ValueError."""
    driver = "cgroupfs"
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"unable to parse exec-opt '{text}': it is name=value")
        if name.strip().lower() != "native.cgroupdriver":
            raise ValueError(f"invalid exec-opt '{name}': docket knows native.cgroupdriver")
        if value not in ("cgroupfs", "systemd"):
            raise ValueError(f"native.cgroupdriver option {value} is invalid: use cgroupfs or systemd")
        driver = value
    return driver


def cgroup_parent(text: str, driver: str) -> str:
    """The parent of containers' control groups. Raises ValueError."""
    try:
        return check_slice(text) if driver == "systemd" else check_cgroup_parent(text)
    except Rejected as error:
        raise ValueError(str(error)) from None

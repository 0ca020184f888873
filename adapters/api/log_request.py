"""``HostConfig.LogConfig`` of a create: which driver keeps the output, and how much of it."""

from __future__ import annotations

from typing import NamedTuple

from docket.adapters.api.fields import Body, mapping, table, text, wrong
from docket.domain.confinement.sizes import parse_size

NONE = "none"
_JSON_FILE = "json-file"
_MAX_FILES = 1000


class LogRequest(NamedTuple):
    """What was asked for; 0 is the engine's own setting."""

    driver: str
    options: dict[str, str]
    max_bytes: int
    files: int


def log_request(host: Body) -> LogRequest:
    """Read a LogConfig. Raises `Rejected` for a driver or an option that this engine does not have."""
    config = table(host, "LogConfig")
    driver, options = text(config, "Type") or _JSON_FILE, mapping(config, "Config")
    if driver not in {_JSON_FILE, NONE}:
        raise wrong(f"logger: no log driver named '{driver}' is registered")
    max_bytes = files = 0
    for name, value in options.items():
        if name == "max-size":
            max_bytes = _max_bytes(value)
        elif name == "max-file":
            files = _files(value)
        elif (name, value) not in {("mode", "blocking"), ("compress", "false")}:
            raise wrong(f"unknown log opt '{name}' for {driver} log driver: this engine keeps max-size and max-file")
    return LogRequest(driver, options, max_bytes, files)


def _max_bytes(value: str) -> int:
    size = 0 if value == "-1" else parse_size(value)
    if size <= 0:
        raise wrong(f"invalid log opt max-size '{value}': it must be a positive size, since output is always limited here")
    return size


def _files(value: str) -> int:
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= _MAX_FILES):
        raise wrong(f"invalid log opt max-file '{value}': it must be a number from 1 to {_MAX_FILES}")
    return int(value)

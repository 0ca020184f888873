"""The instruction ``HEALTHCHECK`` of a change: ``NONE``, or flags and ``CMD`` with a command in one of its two forms."""

from __future__ import annotations

from collections.abc import Callable

from docket.domain.confinement.durations import parse_duration
from docket.domain.oci.image_config import Healthcheck

_DURATIONS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_LEAST_NS = 1_000_000
_MAX_RETRIES = 2**31 - 1


class InvalidHealthcheck(ValueError):
    """The text is Docker's."""


def parse_healthcheck(rest: str, exec_form: Callable[[str], tuple[str, ...] | None]) -> Healthcheck:
    """Returns what the instruction says. Raises `InvalidHealthcheck`, and `Rejected` for a wrong duration."""
    values: dict[str, int] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.strip()
        name, _, value = flag[2:].partition("=")
        if name not in {*_DURATIONS, "retries"}:
            raise InvalidHealthcheck(f"Unknown flag: {name[:60]}")
        values[name.replace("-", "_")] = _retries(value) if name == "retries" else _duration(name, value)
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE":
        if values or command.strip():
            raise InvalidHealthcheck("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(test=("NONE",))
    if kind.upper() != "CMD":
        raise InvalidHealthcheck(f'Unknown type "{kind[:60]}" in HEALTHCHECK (try CMD)')
    command = command.strip()
    if not command:
        raise InvalidHealthcheck("Missing command after HEALTHCHECK CMD")
    words = exec_form(command)
    if words == ():
        raise InvalidHealthcheck("Missing command after HEALTHCHECK CMD")
    return Healthcheck(test=("CMD-SHELL", command) if words is None else ("CMD", *words), **values)


def _duration(name: str, value: str) -> int:
    found = parse_duration(value) if value else 0
    if (found and found < _LEAST_NS) or found < 0:
        raise InvalidHealthcheck(f"Interval {value[:60]!r} of {_DURATIONS[name]} must not be less than 1ms")
    return found


def _retries(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 <= int(value[:12]) <= _MAX_RETRIES:
        raise InvalidHealthcheck(f"--retries must be a number that is not negative, not {value[:60]!r}")
    return int(value)

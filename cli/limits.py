"""The structured limits of `run` and `create`: `--ulimit` and the block device throttles.

Each parser returns the object that the Engine API takes and raises ValueError in Docker's words.
"""

from __future__ import annotations

from docket.cli.sanitise import printable
from docket.cli.values import parse_int, parse_size, parse_unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
)  # fmt: skip


def parse_ulimit(text: str) -> dict[str, Any]:
    """`name=soft[:hard]`; -1 is no limit."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {printable(text)}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {printable(name)}")
    soft_text, colon, hard_text = limits.partition(":")
    if ":" in hard_text:
        raise ValueError(f"too many limit value arguments - {printable(limits)}, can only have up to two, `soft[:hard]`")
    soft = parse_int(soft_text)
    hard = parse_int(hard_text) if colon else soft
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def _device_and_value(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or ":" in value:
        raise ValueError(f"bad format: {printable(text)}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {printable(text)}")
    return path, value


def parse_throttle_bytes(text: str) -> dict[str, Any]:
    """`/dev/path:rate`, the rate as a size per second."""
    path, value = _device_and_value(text)
    try:
        return {"Path": path, "Rate": parse_size(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {printable(text)}. The correct format is <device-path>:<number>[<unit>]."
            " Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def parse_throttle_count(text: str) -> dict[str, Any]:
    """`/dev/path:rate`, the rate as operations per second."""
    path, value = _device_and_value(text)
    try:
        return {"Path": path, "Rate": parse_unsigned(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {printable(text)}. The correct format is <device-path>:<number>."
            " Number must be a positive integer"
        ) from None


def parse_hugepage_limit(text: str) -> dict[str, Any]:
    """`size=limit`, such as `2MB=64m`."""
    size, equals, limit = text.partition("=")
    if not equals or not size:
        raise ValueError(f"invalid huge page limit: {printable(text)}: it is size=limit, such as 2MB=64m")
    return {"pageSize": size, "limit": parse_size(limit)}


def parse_rdma(text: str) -> tuple[str, dict[str, int]]:
    """`device=handles:objects`; of the two one may be left out, or `max`."""
    device, equals, limits = text.partition("=")
    handles, _, objects = limits.partition(":")
    given = {"hcaHandles": handles, "hcaObjects": objects}
    if not equals or not device or not limits.strip(":"):
        raise ValueError(f"invalid RDMA limit: {printable(text)}: it is device=handles:objects, such as mlx5_0=2:2000")
    return device, {name: parse_unsigned(count) for name, count in given.items() if count not in ("", "max")}


def parse_weight_device(text: str) -> dict[str, Any]:
    """`/dev/path:weight` with a weight of 0 or from 10 to 1000."""
    path, value = _device_and_value(text)
    try:
        weight = parse_unsigned(value)
    except ValueError:
        weight = -1
    if weight != 0 and not 10 <= weight <= 1000:
        raise ValueError(f"invalid weight for device: {printable(text)}")
    return {"Path": path, "Weight": weight}

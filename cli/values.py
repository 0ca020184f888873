"""The values that flags take: sizes, durations, numbers, and the kinds of flag that the option parser knows.

Each converter raises ValueError with the words that Docker prints for a value that it cannot read.
"""

from __future__ import annotations

from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_BYTES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATIONS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_INT64 = 1 << 63


def parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{printable(text)}": invalid syntax')


def parse_int(text: str) -> int:
    """A whole number in Go's notation (0x, 0o and 0b prefixes are understood), within 64 bits."""
    try:
        if not text.isascii() or text != text.strip():
            raise ValueError
        value = int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{printable(text)}": invalid syntax') from None
    if not -_INT64 <= value < _INT64:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_unsigned(text: str) -> int:
    value = parse_int(text)
    if value < 0:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return value


def is_number(text: str) -> bool:
    """Whether `text` is ASCII digits only (`str.isdigit` also takes superscripts)."""
    return text.isascii() and text.isdigit()


def parse_size(text: str) -> int:
    """Bytes from `64m`, `1.5GB`, `10 KiB`; the units are powers of 1024."""
    end = max(text.rfind(char) for char in "0123456789. ")
    if end < 0:
        raise ValueError(f"invalid size: '{printable(text)}'")
    number, suffix = text[: end + 1].removesuffix(" "), text[end + 1 :].lower()
    whole, _, fraction = number.partition(".")
    if not is_number(whole + fraction):
        raise ValueError(f'strconv.ParseFloat: parsing "{printable(number)}": invalid syntax')
    factor = 1 if suffix in ("", "b") else _BYTES.get(suffix[0], 0)
    if not factor or suffix[1:] not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{printable(suffix)}'")
    return int(int(whole + fraction) * factor // 10 ** len(fraction))


def parse_memory_swap(text: str) -> int:
    """A size, or -1 for no limit."""
    return -1 if text == "-1" else parse_size(text)


def parse_duration(text: str) -> int:
    """Nanoseconds from Go's notation, such as `1h30m`, `1.5s`, `-10ms`."""
    complaint = f'time: invalid duration "{printable(text)}"'
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0
    total, at = 0, 0
    while at < len(body):
        start = at
        while at < len(body) and body[at] in "0123456789.":
            at += 1
        number = body[start:at]
        start = at
        while at < len(body) and body[at] not in "0123456789.":
            at += 1
        unit = body[start:at]
        if not unit and number.strip("."):
            raise ValueError(f'time: missing unit in duration "{printable(text)}"')
        if number.count(".") > 1 or not number.strip(".") or unit not in _DURATIONS:
            raise ValueError(complaint)
        whole, _, fraction = number.partition(".")
        factor = _DURATIONS[unit]
        total += int(whole or "0") * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)
    if not body:
        raise ValueError(complaint)
    return -total if text.startswith("-") else total


def parse_nano_cpus(text: str) -> int:
    """Billionths of a CPU from `1.5`, `.5` or `1/2`."""
    complaint = f"failed to parse {printable(text)} as a rational number"
    sign = -1 if text.startswith("-") else 1
    top, slash, bottom = text.lstrip("+-").partition("/")
    whole, dot, fraction = top.partition(".")
    digits = whole + fraction
    if (
        not is_number(digits)
        or (slash and (dot or not is_number(bottom) or int(bottom) == 0))
        or len(text) - len(text.lstrip("+-")) > 1
    ):
        raise ValueError(complaint)
    nano, rest = divmod(int(digits) * 10**9, 10 ** len(fraction) * int(bottom or "1"))
    if rest:
        raise ValueError("value is too precise")
    return int(sign * nano)


def _text(text: str) -> str:
    return text


def _env(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {printable(text)}")
    return text


def _label(text: str) -> str:
    if not text.partition("=")[0].strip():
        raise ValueError(f"invalid label '{printable(text)}': empty name")
    return text


def _attach(text: str) -> str:
    stream = text.lower()
    if stream not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return stream


def _filter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def _sysctl(text: str) -> str:
    """Docker lets these namespaced ones through and refuses the rest before it asks the engine."""
    name = text.partition("=")[0]
    known = (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
    if "=" not in text or not (name in known or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{printable(text)}' is not allowed")
    return text


def is_ip(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    from _socket import inet_pton

    for family in (2, 10):  # AF_INET, AF_INET6
        try:
            inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _ip(text: str) -> str:
    if not is_ip(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {printable(text)}")
    return text.strip()


def _add_host(text: str) -> str:
    """`name:address` or `name=address`; the address may be `host-gateway`. Sent with a colon, as Docker does."""
    separator = "=" if "=" in text else ":"
    name, _, address = text.partition(separator)
    if not name or not address:
        raise ValueError(f'bad format for add-host: "{printable(text)}"')
    bare = address.removeprefix("[").removesuffix("]") if address.startswith("[") else address
    if bare != "host-gateway" and not is_ip(bare):
        raise ValueError(f'invalid IP address in add-host: "{printable(address)}"')
    return f"{name}:{bare}"


def _strings(text: str) -> list[str]:
    return text.split(",")


def _deferred(module: str, function: str) -> Callable[[str], Any]:
    """A converter in a module that only the commands using it load."""

    def convert(text: str) -> Any:
        return getattr(__import__(f"docket.cli.{module}", fromlist=[function]), function)(text)

    return convert


class Kind:
    """How a flag's text becomes a value. `label` is what help calls it; `implied` the text of a flag without a value."""

    __slots__ = ("convert", "implied", "label", "repeats", "spreads")

    def __init__(
        self,
        label: str,
        convert: Callable[[str], Any],
        *,
        repeats: bool = False,
        spreads: bool = False,
        implied: str | None = None,
    ) -> None:
        self.label = label
        self.convert = convert
        self.repeats = repeats
        self.spreads = spreads
        self.implied = implied


KINDS: dict[str, Kind] = {
    "bool": Kind("", parse_bool, implied="true"),
    "string": Kind("string", _text),
    "int": Kind("int", parse_int),
    "uint": Kind("uint", parse_unsigned),
    "bytes": Kind("bytes", parse_size),
    "memory-swap": Kind("bytes", parse_memory_swap),
    "duration": Kind("duration", parse_duration),
    "decimal": Kind("decimal", parse_nano_cpus),
    "list": Kind("list", _text, repeats=True),
    "strings": Kind("strings", _strings, repeats=True, spreads=True),
    "env": Kind("list", _env, repeats=True),
    "label": Kind("list", _label, repeats=True),
    "attach": Kind("list", _attach, repeats=True),
    "map": Kind("map", _text, repeats=True),
    "sysctl": Kind("map", _sysctl, repeats=True),
    "filter": Kind("filter", _filter, repeats=True),
    "ip-list": Kind("list", _ip, repeats=True),
    "add-host": Kind("list", _add_host, repeats=True),
    "ulimit": Kind("ulimit", _deferred("limits", "parse_ulimit"), repeats=True),
    "throttle-bytes": Kind("list", _deferred("limits", "parse_throttle_bytes"), repeats=True),
    "throttle-count": Kind("list", _deferred("limits", "parse_throttle_count"), repeats=True),
    "hugepage-limit": Kind("list", _deferred("limits", "parse_hugepage_limit"), repeats=True),
    "rdma": Kind("list", _deferred("limits", "parse_rdma"), repeats=True),
    "weight-device": Kind("list", _deferred("limits", "parse_weight_device"), repeats=True),
    "mount": Kind("mount", _deferred("mounts", "parse_mount"), repeats=True),
    "network": Kind("network", _deferred("endpoints", "parse_network"), repeats=True),
}

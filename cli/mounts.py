"""`--mount`, `-v` and `--tmpfs` as the Engine API takes them.

A `-v` with a colon is a bind (or a named volume) and goes to the engine as text; without one it is an anonymous volume.
Relative host paths are made absolute here, because only the client knows its own working directory.
"""

from __future__ import annotations

import os

from docket.cli.errors import CliError
from docket.cli.sanitise import printable
from docket.cli.values import parse_bool, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive")


def split_csv(text: str) -> list[str]:
    """One line of CSV: a field may be quoted, and a quote inside it is doubled. Raises ValueError."""
    fields: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            value, rest = _quoted(rest[1:], text)
        else:
            end = rest.find(",")
            value, rest = (rest, "") if end < 0 else (rest[:end], rest[end:])
            if '"' in value:
                raise ValueError('parse error on line 1: bare " in non-quoted-field')
        fields.append(value)
        if not rest:
            return fields
        rest = rest[1:]


def _quoted(rest: str, text: str) -> tuple[str, str]:
    """The value of a field whose opening quote is gone, and what follows its closing quote."""
    value = ""
    while True:
        before, quote, rest = rest.partition('"')
        value += before
        if not quote:
            raise ValueError(f'parse error on line 1: extraneous or missing " in quoted-field in {text!r}')
        if not rest.startswith('"'):
            break
        value, rest = value + '"', rest[1:]
    if rest and not rest.startswith(","):
        raise ValueError('parse error on line 1: extraneous or missing " in quoted-field')
    return value, rest


def parse_mount(text: str) -> dict[str, Any]:
    """One `--mount` as the API's Mount object; raises ValueError in Docker's words."""
    mount: dict[str, Any] = {"Type": "volume"}
    groups: dict[str, dict[str, Any]] = {"bind": {}, "volume": {}, "tmpfs": {}}
    for part in split_csv(text):
        key, equals, value = part.partition("=")
        key = key.lower()
        if not equals:
            if key not in _SWITCHES:
                raise ValueError(f"invalid field '{printable(part)}' must be a key=value pair")
            value = "true"
        _set_field(mount, groups, key, value, part)
    kind = mount["Type"]
    if "Target" not in mount:
        raise ValueError("target is required")
    for name, group in groups.items():
        if group and name != kind:
            raise ValueError(f"cannot mix '{name}-*' options with mount type '{printable(kind)}'")
    return _ordered(mount, groups)


def _set_field(mount: dict[str, Any], groups: dict[str, dict[str, Any]], key: str, value: str, part: str) -> None:
    bind, volume, tmpfs = groups["bind"], groups["volume"], groups["tmpfs"]
    match key:
        case "type":
            mount["Type"] = value.lower()
        case "source" | "src":
            mount["Source"] = _source(value)
        case "target" | "dst" | "destination":
            mount["Target"] = value
        case "readonly" | "ro":
            mount["ReadOnly"] = _switch(key, value)
        case "consistency":
            mount["Consistency"] = value.lower()
        case "bind-propagation":
            bind["Propagation"] = value.lower()
        case "bind-nonrecursive":
            bind["NonRecursive"] = _switch(key, value)
        case "bind-recursive":
            bind.update(_recursive(value))
        case "volume-nocopy":
            volume["NoCopy"] = _switch(key, value)
        case "volume-subpath":
            volume["Subpath"] = value
        case "volume-label":
            name, _, label = value.partition("=")
            volume.setdefault("Labels", {})[name] = label
        case "volume-driver":
            volume.setdefault("DriverConfig", {})["Name"] = value
        case "volume-opt":
            name, _, option = value.partition("=")
            volume.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = option
        case "tmpfs-size":
            tmpfs["SizeBytes"] = _converted(key, value, parse_size)
        case "tmpfs-mode":
            tmpfs["Mode"] = _converted(key, value, lambda text: int(text, 8))
        case _:
            raise ValueError(f"unexpected key '{printable(key)}' in '{printable(part)}'")


def _switch(key: str, value: str) -> bool:
    return bool(_converted(key, value, parse_bool))


def _converted(key: str, value: str, convert: Any) -> Any:
    try:
        return convert(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {printable(value)}") from None


def _recursive(value: str) -> dict[str, bool]:
    modes = {
        "enabled": {}, "disabled": {"NonRecursive": True}, "writable": {"ReadOnlyNonRecursive": True},
        "readonly": {"ReadOnlyForceRecursive": True},
    }  # fmt: skip
    if value not in modes:
        raise ValueError(
            f'invalid value for bind-recursive: {printable(value)} (must be "enabled", "disabled", "writable", or "readonly")'
        )
    return modes[value]


def _source(value: str) -> str:
    return os.path.abspath(value) if value == "." or value.startswith(("./", "../")) else value


def _ordered(mount: dict[str, Any], groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The object with the options that were given; a volume with options always names its driver's configuration."""
    names = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions"}
    for name, key in names.items():
        if groups[name]:
            mount[key] = groups[name]
    if groups["volume"]:
        groups["volume"].setdefault("DriverConfig", {})
    if mount.get("ReadOnly") is False:
        del mount["ReadOnly"]
    return mount


def volumes_and_binds(specs: list[str]) -> tuple[dict[str, dict[str, str]], list[str] | None]:
    """Splits `-v` values into anonymous volumes and binds."""
    volumes: dict[str, dict[str, str]] = {}
    binds: list[str] = []
    for spec in specs:
        source, colon, rest = spec.partition(":")
        if not colon or not rest:
            volumes[spec] = {}
            continue
        if not source:
            raise CliError(f"invalid spec: {printable(spec)}: empty section between colons", 125)
        if source == "." or source.startswith(("./", "../", "~/")):
            source = os.path.abspath(os.path.expanduser(source))
        binds.append(f"{source}:{rest}")
    return volumes, binds or None


def tmpfs(specs: list[str]) -> dict[str, str]:
    """`--tmpfs /path[:options]` as path and options."""
    return {path: options for path, _, options in (spec.partition(":") for spec in specs)}

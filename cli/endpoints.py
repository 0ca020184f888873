"""`--network` with its companions, and ports: `-p` and `--expose`.

A network is a name or mode (`host`, `none`, `container:x`), or CSV such as `name=front,alias=web`. Only user-defined networks take
aliases and addresses. Port maps follow Docker's notation, ranges and bracketed IPv6 addresses included.
"""

from __future__ import annotations

from docket.cli.errors import CliError
from docket.cli.mounts import split_csv
from docket.cli.sanitise import printable
from docket.cli.values import is_ip, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.options import Options

    Bindings = dict[str, list[dict[str, str]]]

_MODES = ("default", "bridge", "host", "none", "nat")
_PROTOCOLS = ("tcp", "udp", "sctp")


def parse_network(text: str) -> dict[str, Any]:
    """One `--network`; raises ValueError in Docker's words."""
    if "=" not in text:
        return {"name": text}
    network: dict[str, Any] = {"name": "", "aliases": [], "options": {}}
    keys = {"name": "name", "ip": "ip", "ip6": "ip6", "mac-address": "mac"}
    for part in split_csv(text):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals:
            raise ValueError(f"invalid key/value pair format in driver options: {printable(part)}")
        if key in keys:
            network[keys[key]] = value
        elif key == "alias":
            network["aliases"].append(value)
        elif key == "driver-opt":
            name, _, option = value.partition("=")
            network["options"][name] = option
        elif key == "link-local-ip":
            network.setdefault("link_local", []).append(value)
        else:
            raise ValueError(f"invalid field key {printable(key)}")
    return network


def is_user_defined(mode: str) -> bool:
    return mode not in _MODES and not mode.startswith("container:")


def network_settings(options: Options) -> tuple[str, dict[str, Any]]:
    """The container's network mode, and its endpoints by network name."""
    networks: list[dict[str, Any]] = options["network"] or [{"name": "default"}]
    names = [network["name"] for network in networks]
    if "" in names:
        raise CliError("no name set for network", 125)
    if len(names) > 1 and not all(is_user_defined(name) for name in names):
        raise CliError("conflicting options: cannot attach both user-defined and non-user-defined network-modes", 125)
    _apply_companions(networks[0], options)
    endpoints = {}
    for network in networks:
        name = network["name"]
        if not is_user_defined(name) and network.get("aliases"):
            raise CliError("network-scoped aliases are only supported for user-defined networks", 125)
        if name == "default" or is_user_defined(name):
            endpoints[name] = _endpoint(network)
    return names[0], endpoints


def _apply_companions(network: dict[str, Any], options: Options) -> None:
    """`--ip`, `--network-alias` and the like speak of the first network."""
    for flag, key in (("ip", "ip"), ("ip6", "ip6"), ("mac-address", "mac")):
        if options[flag]:
            network[key] = options[flag]
    if options["network-alias"]:
        network["aliases"] = options["network-alias"]
    if options["link-local-ip"]:
        network["link_local"] = options["link-local-ip"]
    if options["link"] and is_user_defined(network["name"]):
        network["links"] = options["link"]
    mac = network.get("mac")
    if mac and not _is_mac(mac):
        raise CliError(f"{printable(mac)} is not a valid mac address", 125)


def _is_mac(text: str) -> bool:
    parts = text.replace("-", ":").split(":")
    return len(parts) in (6, 8, 20) and all(len(part) == 2 and not part.strip("0123456789abcdefABCDEF") for part in parts)


def _endpoint(network: dict[str, Any]) -> dict[str, Any]:
    addresses: dict[str, Any] = {}
    for key, name in (("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link_local", "LinkLocalIPs")):
        if network.get(key):
            addresses[name] = network[key]
    return {
        "IPAMConfig": addresses or None, "Links": network.get("links"), "Aliases": network.get("aliases") or None,
        "MacAddress": network.get("mac", ""), "DriverOpts": network.get("options") or None, "GwPriority": 0, "NetworkID": "",
        "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "DNSNames": None,
    }  # fmt: skip


def port_settings(published: list[str], exposed: list[str]) -> tuple[dict[str, dict[str, str]], Bindings]:
    """The exposed ports and the bindings of `-p` and `--expose`."""
    ports: dict[str, dict[str, str]] = {}
    bindings: Bindings = {}
    for spec in published:
        for port, binding in _published(_short_form(spec)):
            ports[port] = {}
            bindings.setdefault(port, []).append(binding)
    for spec in exposed:
        ports.update({port: {} for port in _exposed(spec)})
    return ports, bindings


def _short_form(spec: str) -> str:
    """`published=8080,target=80,protocol=udp` as `8080:80/udp`; everything else unchanged."""
    if "=" not in spec:
        return spec
    fields = {"published": "", "target": "", "protocol": "tcp"}
    for part in split_csv(spec):
        key, _, value = part.partition("=")
        if key not in fields and key != "mode":
            raise CliError(f"invalid field key {printable(key)}", 125)
        fields[key] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _published(spec: str) -> list[tuple[str, dict[str, str]]]:
    address, host, container = _split_spec(spec)
    container, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if not container:
        raise CliError(f"no port specified: {printable(spec)}<empty>", 125)
    first, last = _range(container, "containerPort")
    host_first, host_last = _range(host, "hostPort") if host else (0, 0)
    if address and not is_ip(address):
        raise CliError(f"invalid IP address: {printable(address)}", 125)
    if protocol not in _PROTOCOLS:
        raise CliError(f"invalid proto: {printable(protocol)}", 125)
    if host and host_last - host_first != last - first:
        if first != last:
            message = f"invalid ranges specified for container and host Ports: {printable(container)} and {printable(host)}"
            raise CliError(message, 125)
        # One container port, several host ports: the engine takes the first that is free.
        return [(f"{first}/{protocol}", {"HostIp": address, "HostPort": host})]
    return [
        (f"{first + index}/{protocol}", {"HostIp": address, "HostPort": str(host_first + index) if host else ""})
        for index in range(last - first + 1)
    ]


def _split_spec(spec: str) -> tuple[str, str, str]:
    """Address, host port and container port; the address may be IPv6, in brackets or not."""
    parts = spec.split(":")
    if len(parts) == 1:
        return "", "", spec
    if len(parts) == 2:
        return "", parts[0], parts[1]
    address = ":".join(parts[:-2])
    if address.startswith("["):
        address = address.removeprefix("[").removesuffix("]")
    return address, parts[-2], parts[-1]


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not is_number(first) or int(first) > 65535 or (dash and (not is_number(last) or not int(first) <= int(last) <= 65535)):
        raise CliError(f"invalid {what}: {printable(text)}", 125)
    return int(first), int(last) if dash else int(first)


def _exposed(spec: str) -> list[str]:
    ports, _, protocol = spec.partition("/")
    first, dash, last = ports.partition("-")
    complaint = f"invalid range format for --expose: {printable(ports)}, error: "
    for number in (first, last) if dash else (first,):
        if not is_number(number):
            raise CliError(f'{complaint}strconv.ParseUint: parsing "{printable(number)}": invalid syntax', 125)
        if int(number) > 65535:
            raise CliError(f'{complaint}strconv.ParseUint: parsing "{number}": value out of range', 125)
    if dash and int(last) < int(first):
        raise CliError(f"{complaint}invalid range specified for port: {ports}", 125)
    return [f"{port}/{protocol or 'tcp'}" for port in range(int(first), int(last if dash else first) + 1)]

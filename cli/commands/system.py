"""`docket version` and `docket info`."""

from __future__ import annotations

import os
import sys

from docket import __version__
from docket.cli.errors import CliError
from docket.cli.formatting import binary_size, render_value
from docket.cli.options import Command
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import FlagData, Options

_FORMAT: FlagData = ("format", "f", "string", "", "Print by a Go template, or as json")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def _client_facts(context: Context) -> dict[str, Any]:
    machine = os.uname().machine
    return {
        "Version": __version__,
        "ApiVersion": context.api_version(),
        "DefaultAPIVersion": context.api_version(),
        "PythonVersion": sys.version.partition(" ")[0],
        "Os": sys.platform,
        "Arch": _MACHINES.get(machine, machine),
        "Context": "default",
    }


def _version(context: Context, options: Options) -> int:
    client = _client_facts(context)
    failure: CliError | None = None
    server: dict[str, Any] | None = None
    try:
        server = context.client().value("GET", "/version")
    except CliError as error:
        failure = error
    if options["format"]:
        context.line(render_value(options["format"], {"Client": client, "Server": server}))
    else:
        context.write(_version_text(client, server))
    if failure is not None:
        context.flush()
        raise failure
    return 0


def _version_text(client: dict[str, Any], server: dict[str, Any] | None) -> str:
    lines = ["Client:"]
    for name, key in (("Version", "Version"), ("API version", "ApiVersion"), ("Python version", "PythonVersion")):
        lines.append(f" {name + ':':18} {client[key]}")
    lines.append(f" {'OS/Arch:':18} {client['Os']}/{client['Arch']}")
    lines.append(f" {'Context:':18} {client['Context']}")
    if server:
        platform = (server.get("Platform") or {}).get("Name", "")
        lines += ["", f"Server: {platform}".rstrip()]
        for component in server.get("Components") or ():
            lines += _component(component)
    return "".join(printable(line) + "\n" for line in lines)


def _component(component: dict[str, Any]) -> list[str]:
    details = component.get("Details") or {}
    lines = [f" {component.get('Name', '')}:", f"  {'Version:':17} {component.get('Version', '')}"]
    if component.get("Name") != "Engine":
        return lines + [f"  {name + ':':17} {details[name]}" for name in sorted(details)]
    lowest = f" (minimum version {details['MinAPIVersion']})" if details.get("MinAPIVersion") else ""
    lines.append(f"  {'API version:':17} {details.get('ApiVersion', '')}{lowest}")
    for name, key in (("Git commit", "GitCommit"), ("Built", "BuildTime")):
        if details.get(key):
            lines.append(f"  {name + ':':17} {details[key]}")
    lines.append(f"  {'OS/Arch:':17} {details.get('Os', '')}/{details.get('Arch', '')}")
    lines.append(f"  {'Experimental:':17} {details.get('Experimental', 'false')}")
    return lines


def _info(context: Context, options: Options) -> int:
    try:
        info = context.client().value("GET", "/info")
    except CliError:
        if not options["format"]:
            context.write(_info_client())
            context.write("\nServer:\n")
            context.flush()
        raise
    if options["format"]:
        context.line(render_value(options["format"], info))
        return 0
    context.write(_info_client() + "\nServer:\n" + "".join(f" {printable(line)}\n" for line in _info_lines(info)) + "\n")
    for warning in info.get("Warnings") or ():
        context.warn(printable(warning))
    return 0


def _info_client() -> str:
    return f"Client:\n Version:    {__version__}\n Context:    default\n Debug Mode: false\n"


def _info_lines(info: dict[str, Any]) -> list[str]:
    lines = [f"Containers: {info.get('Containers', 0)}"]
    lines += [f" {word}: {info.get('Containers' + word, 0)}" for word in ("Running", "Paused", "Stopped")]
    lines += _present(info, (("Images", "Images"), ("Server Version", "ServerVersion"), ("Storage Driver", "Driver")))
    lines += [f" {name}: {value}" for name, value in info.get("DriverStatus") or ()]
    lines += _present(
        info, (("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"), ("Cgroup Version", "CgroupVersion"))
    )
    plugins = info.get("Plugins") or {}
    lines.append("Plugins:")
    lines += [
        f" {name}: {' '.join(plugins[name])}" for name in ("Volume", "Network", "Authorization", "Log") if plugins.get(name)
    ]
    swarm = (info.get("Swarm") or {}).get("LocalNodeState")
    lines += [f"Swarm: {swarm}"] if swarm else []
    lines += [f"Runtimes: {' '.join(sorted(info['Runtimes']))}"] if info.get("Runtimes") else []
    lines += _present(info, (("Default Runtime", "DefaultRuntime"), ("Init Binary", "InitBinary")))
    lines += _security(info.get("SecurityOptions") or ())
    lines += _present(
        info,
        (
            ("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem"), ("OSType", "OSType"),
            ("Architecture", "Architecture"), ("CPUs", "NCPU"),
        ),
    )  # fmt: skip
    lines.append(f"Total Memory: {binary_size(info.get('MemTotal', 0))}")
    lines += _present(info, (("Name", "Name"), ("ID", "ID"), ("Docket Root Dir", "DockerRootDir")))
    lines += _log((info.get("Docket") or {}).get("Log"))
    lines.append(f"Debug Mode: {'true' if info.get('Debug') else 'false'}")
    lines += _list("Labels", info.get("Labels"))
    lines.append(f"Experimental: {'true' if info.get('ExperimentalBuild') else 'false'}")
    registries = info.get("RegistryConfig") or {}
    insecure = [name for name, index in (registries.get("IndexConfigs") or {}).items() if index.get("Secure") is False]
    lines += _list("Insecure Registries", [*insecure, *(registries.get("InsecureRegistryCIDRs") or ())])
    lines += _list("Registry Mirrors", registries.get("Mirrors"))
    lines.append(f"Live Restore Enabled: {'true' if info.get('LiveRestoreEnabled') else 'false'}")
    return lines


def _log(log: dict[str, Any] | None) -> list[str]:
    """docket's own: the event log, and what checking it has found so far."""
    if not log:
        return []
    status, position = log.get("Status"), log.get("Position", 0)
    shown = {"checking": f"verified up to {position}", "sound": "verified"}.get(str(status), f"{status} at {position}")
    return [f"Event Log: {log.get('Events', 0)} events, {shown}"]


def _present(info: dict[str, Any], names: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{name}: {info[key]}" for name, key in names if info.get(key) not in (None, "")]


def _list(name: str, values: list[str] | None) -> list[str]:
    return [f"{name}:", *(f" {value}" for value in values)] if values else []


def _security(options: Any) -> list[str]:
    """`name=seccomp,profile=builtin` as a name and its settings below."""
    lines = ["Security Options:"] if options else []
    for option in options:
        for part in option.split(","):
            key, _, value = part.partition("=")
            lines.append(f" {value}" if key == "name" else f"  {key.capitalize()}: {value}")
    return lines


VERSION = Command("docket version", "Show the versions of client and engine", (_FORMAT,), _version)
INFO = Command(
    "docket info", "Show facts about the engine and its host", (_FORMAT,), _info, aliases=("docket system info", "docket info")
)

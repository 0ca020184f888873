"""A container as Docker's clients expect to see it: the row of a list, and the whole of an inspect."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from docket.adapters.api.host_config_json import host_config
from docket.adapters.api.times import rfc3339
from docket.domain.engine import Engine
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container, ContainerStatus

_S = ContainerStatus
_SHOWN = {
    _S.STARTING: "created",
    _S.RESTARTING: "exited",
    _S.PAUSING: "running",
    _S.UNPAUSING: "paused",
    _S.STOPPING: "running",
}
_UNITS = ((86_400 * 7, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


_NO_ENDPOINT = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}
_NO_BRIDGE: dict[str, Any] = {
    "Bridge": "",
    "SandboxID": "",
    "SandboxKey": "",
    "Ports": {},
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}


def shown_status(container: Container) -> str:
    """The status in Docker's words."""
    return _SHOWN.get(container.status, container.status.value)


class Rows:
    """The entries of ``GET /containers/json`` as ready JSON: all but the passing time is encoded once for each change."""

    def __init__(self) -> None:
        self._ready: dict[str, tuple[int, bytes]] = {}
        self._generation = 0

    def encode(self, containers: Sequence[Container], now_ns: int, generation: int) -> bytes:
        """The body of a list of containers as the engine has them now; ``generation`` is the event store's."""
        if generation != self._generation:
            # The log refused events: their positions, which say what is ready here, will be those of others.
            self._ready, self._generation = {}, generation
        return b"[" + b",".join([self._row(container, now_ns) for container in containers]) + b"]"

    def _row(self, container: Container, now_ns: int) -> bytes:
        ready = self._ready.get(container.id)
        if ready is None or ready[0] != container.changed:
            ready = self._ready[container.id] = container.changed, msgspec.json.encode(_row(container))
        return b'{"Status":"' + status_text(container, now_ns).encode() + b'",' + ready[1][1:]

    def forget_all_but(self, containers: Collection[str]) -> None:
        """Let go of what is ready of containers that no longer exist."""
        if len(self._ready) > len(containers):
            self._ready = {key: ready for key, ready in self._ready.items() if key in containers}


def _row(container: Container) -> dict[str, Any]:
    """What of an entry does not change with time."""
    spec = container.spec
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": spec.image,
        "ImageID": container.image_id,
        "Command": " ".join(spec.arguments),
        "Created": container.created_ns // 1_000_000_000,
        "Ports": [],
        "Labels": spec.labels,
        "State": shown_status(container),
        "HostConfig": {"NetworkMode": spec.asked_network},
        "NetworkSettings": {"Networks": _networks(spec)},
        "Mounts": _mounts(spec),
    }


def summary(container: Container, now_ns: int) -> dict[str, Any]:
    """An entry of the list as a value."""
    return {**_row(container), "Status": status_text(container, now_ns)}


def status_text(container: Container, now_ns: int) -> str:
    """``Up 3 minutes (Paused)``, ``Exited (0) 2 seconds ago``, ``Created``."""
    status = shown_status(container)
    if status in {"running", "paused"}:
        paused = " (Paused)" if status == "paused" else ""
        return f"Up {_ago(now_ns - container.started_ns)}{paused}"
    if status == "exited":
        return f"Exited ({container.exit_code}) {_ago(now_ns - container.finished_ns)} ago"
    return {"created": "Created", "removing": "Removal In Progress", "dead": "Dead"}[status]


def _ago(ns: int) -> str:
    seconds = max(ns // 1_000_000_000, 0)
    if seconds < 1:
        return "Less than a second"
    for size, name in _UNITS:
        count = seconds // size
        if count == 1 and name in {"hour", "minute"}:
            return f"About {'an' if name == 'hour' else 'a'} {name}"
        if count >= (2 if name == "week" else 1):
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "Less than a second"


def inspect(engine: Engine, container: Container) -> dict[str, Any]:
    """``GET /containers/{id}/json``."""
    spec = container.spec
    secret = engine.ports.store.secret(spec.environment)
    environment = [f"{name}=" for name in spec.environment_names] if secret is None else secret.decode().split("\0")
    arguments = spec.arguments
    return {
        "Id": container.id,
        "Created": rfc3339(container.created_ns),
        "Path": arguments[0],
        "Args": list(arguments[1:]),
        "State": _state(container),
        "Image": container.image_id,
        "ResolvConfPath": f"{engine.ports.places.runtime(container.id)}/resolv.conf",
        "HostnamePath": f"{engine.ports.places.runtime(container.id)}/hostname",
        "HostsPath": f"{engine.ports.places.runtime(container.id)}/hosts",
        "LogPath": engine.ports.places.log(container.id),
        "Name": f"/{container.name}",
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": container.apparmor,
        "ExecIDs": container.execs or None,
        "HostConfig": host_config(spec),
        "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": f"{engine.ports.places.container(container.id)}/upper"}},
        "Mounts": _mounts(spec),
        "Config": _config(spec, [entry for entry in environment if entry]),
        "NetworkSettings": {
            **_NO_BRIDGE,
            "Networks": _networks(spec),
        },
    }


def _state(container: Container) -> dict[str, Any]:
    status = shown_status(container)
    return {
        "Status": status,
        "Running": status in {"running", "paused"},
        "Paused": status == "paused",
        "Restarting": False,
        "OOMKilled": container.oom_killed,
        "Dead": status == "dead",
        "Pid": container.pid,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339(container.started_ns),
        "FinishedAt": rfc3339(container.finished_ns),
    }


def _config(spec: ContainerSpec, environment: list[str]) -> dict[str, Any]:
    return {
        "Hostname": spec.hostname,
        "Domainname": spec.domainname,
        "User": spec.user,
        "AttachStdin": "Stdin" in spec.attach,
        "AttachStdout": "Stdout" in spec.attach,
        "AttachStderr": "Stderr" in spec.attach,
        "ExposedPorts": {port: {} for port in spec.exposed_ports},
        "Tty": spec.terminal,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "Env": environment,
        "Cmd": list(spec.command) or None,
        "Image": spec.image,
        "Volumes": {path: {} for path in spec.volumes} or None,
        "WorkingDir": spec.working_directory,
        "Entrypoint": list(spec.entrypoint) or None,
        "OnBuild": None,
        "Labels": spec.labels,
        **({"StopSignal": spec.stop_signal} if spec.stop_signal else {}),
        **({"StopTimeout": spec.stop_timeout_seconds} if spec.stop_timeout_seconds is not None else {}),
    }


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    return [
        {
            "Type": mount.kind,
            "Source": mount.source,
            "Destination": mount.target,
            "Mode": "ro" if mount.readonly and mount.kind == "bind" and mount.create_source else "",
            "RW": not mount.readonly,
            "Propagation": mount.propagation if mount.kind == "bind" else "",
        }
        for mount in spec.mounts
    ]


def _networks(spec: ContainerSpec) -> dict[str, Any]:
    if spec.network.startswith("container:"):
        return {}
    return {spec.network: _NO_ENDPOINT}

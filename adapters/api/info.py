"""``/version`` and ``/info`` in Docker's shape, and the warnings: what this host cannot do, and what an operator should know."""

from __future__ import annotations

import os
import sqlite3
import sys
from typing import Any

from docket import __version__
from docket.adapters.api.times import rfc3339
from docket.adapters.http import MAX_API_VERSION, MIN_API_VERSION
from docket.domain.engine import Engine
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.ports import HostFacts

API_VERSION = ".".join(str(part) for part in MAX_API_VERSION)
_MIN_API_VERSION = ".".join(str(part) for part in MIN_API_VERSION)
_DEFAULT_NETWORK = (
    "WARNING: the default network is none, containers reach nothing but themselves: bridge networks are not there yet, "
    "--network host is"
)
_AF_ALG = (
    "WARNING: AF_ALG sockets cannot be refused to 32-bit programs in containers: no seccomp filter sees into socketcall(2), "
    "and no security module of docket's stops them"
)
# The controller that a limit needs, and Docker's words for a host without it.
_LIMITS = (
    ("memory", "memory limit"), ("memory", "swap limit"), ("cpu", "cpu cfs quota"), ("cpu", "cpu cfs period"),
    ("cpu", "cpu shares"), ("cpuset", "cpuset"), ("pids", "pids limit"), ("io", "blkio throttle.read_bps_device"),
    ("io", "blkio throttle.write_bps_device"), ("io", "blkio throttle.read_iops_device"),
    ("io", "blkio throttle.write_iops_device"),
)  # fmt: skip
_NO_SWARM = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def version(engine: Engine) -> dict[str, Any]:
    """The answer to ``/version``."""
    host = engine.ports.kernel.host()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(host.architecture, host.architecture)
    common = {
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": host.kernel_release,
        "BuildTime": "",
    }
    details = {"ApiVersion": API_VERSION, "MinAPIVersion": _MIN_API_VERSION, "Experimental": "false", **common}
    python = ".".join(str(part) for part in sys.version_info[:3])
    return {
        "Platform": {"Name": "docket"},
        "Experimental": False,
        "Components": [
            {"Name": "Engine", "Version": __version__, "Details": details},
            {"Name": "Python", "Version": python, "Details": {}},
            {"Name": "SQLite", "Version": sqlite3.sqlite_version, "Details": {}},
        ],
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": _MIN_API_VERSION,
        **common,
    }


def info(engine: Engine) -> dict[str, Any]:
    """The answer to ``/info``."""
    return {**_objects(engine), **_host(engine.ports.kernel.host()), **_engine(engine), "Warnings": warnings(engine)}


def _objects(engine: Engine) -> dict[str, Any]:
    state = engine.state
    alive = [container for container in state.containers.values() if container.alive]
    paused = sum(container.status.value == "paused" for container in alive)
    return {
        "ID": state.engine,
        "Containers": len(state.containers),
        "ContainersRunning": len(alive) - paused,
        "ContainersPaused": paused,
        "ContainersStopped": len(state.containers) - len(alive),
        "Images": len(state.images),
    }


def _host(host: HostFacts) -> dict[str, Any]:
    limits = set(host.controllers)
    return {
        "Name": host.hostname,
        "MemoryLimit": "memory" in limits,
        "SwapLimit": "memory" in limits,
        "CpuCfsPeriod": "cpu" in limits,
        "CpuCfsQuota": "cpu" in limits,
        "CPUShares": "cpu" in limits,
        "CPUSet": "cpuset" in limits,
        "PidsLimit": "pids" in limits,
        "OomKillDisable": False,
        "CgroupVersion": "2",
        "KernelVersion": host.kernel_release,
        "OperatingSystem": host.operating_system,
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": host.architecture,
        "NCPU": host.cpus,
        "MemTotal": host.memory_bytes,
    }


def _engine(engine: Engine) -> dict[str, Any]:
    settings, health = engine.settings, engine.health
    return {
        "Driver": "overlay2",
        "DriverStatus": [],
        "DockerRootDir": engine.ports.places.data_root,
        "Plugins": {"Volume": [], "Network": ["none", "host"], "Authorization": None, "Log": ["json-file"]},
        "LoggingDriver": "json-file",
        "CgroupDriver": settings.cgroup_driver,
        "Debug": settings.debug,
        "NFd": 0,
        "NGoroutines": 0,
        "NEventsListener": engine.subscribers,
        "SystemTime": rfc3339(engine.ports.clock.now_ns()),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registries(settings),
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Labels": list(settings.labels),
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "DefaultRuntime": "docket",
        "Runtimes": {"docket": {"path": "docket"}},
        "Swarm": _NO_SWARM,
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "ProductLicense": "Apache-2.0",
        "SecurityOptions": _security_options(engine),
        "CDISpecDirs": [],
        "Docket": {
            "Log": {"Events": engine.ports.store.head(), "Status": health.status, "Position": health.position},
            "Pid": os.getpid(),
        },
    }


def _registries(settings: EngineSettings) -> dict[str, Any]:
    """Networks are listed apart from names, as Docker does; docker.io always has an entry."""
    names = [each for each in settings.insecure_registries if "/" not in each]
    mirrors = list(settings.registry_mirrors)
    official = {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}
    insecure = {name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in names}
    return {
        "IndexConfigs": {"docker.io": official, **insecure},
        "InsecureRegistryCIDRs": [each for each in settings.insecure_registries if "/" in each],
        "Mirrors": mirrors,
    }


def _security_options(engine: Engine) -> list[str]:
    options = ["name=seccomp,profile=builtin"] if engine.ports.kernel.host().seccomp else []
    options = [*options, "name=apparmor"] if engine.ports.kernel.host().apparmor else options
    options = [*options, "name=userns"] if engine.settings.id_maps else options
    options.append("name=cgroupns")
    return [*options, "name=no-new-privileges"] if engine.settings.no_new_privileges else options


def warnings(engine: Engine) -> list[str]:
    """One line each."""
    host, health = engine.ports.kernel.host(), engine.health
    found = [f"WARNING: No {words} support" for controller, words in _LIMITS if controller not in host.controllers]
    found.append(_DEFAULT_NETWORK)
    if not host.seccomp:
        found.append("WARNING: No seccomp support: containers start with --security-opt seccomp=unconfined only")
    if host.architecture == "x86_64":
        found.append(_AF_ALG)
    for address in engine.settings.open_addresses:
        found.append(
            f"WARNING: API is accessible on {address} without client certificates: "
            "access to the remote API is equivalent to root access on the host"
        )
    if health.status == "damaged":
        found.append(f"WARNING: the event log is damaged: {health.message}: restore the data root from a backup")
    elif health.status == "unknown":
        found.append(f"WARNING: the event log could not be verified: {health.message}")
    return found

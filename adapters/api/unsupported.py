"""What a create may ask for and this engine does not have: refused with the reason, never dropped silently.

Clients send every field of their types; what stands for "nothing asked" is listed with each. Where Docker has words for a refusal
that clients know, they are used.
"""

from __future__ import annotations

from typing import Any

from docket.adapters.api.fields import Body, checked, integer, objects, table, text, texts, wrong
from docket.domain.errors import NotFound, Rejected, Unsupported
from docket.domain.model.image.state import Image

RUNTIME = "docket"

_LISTS = {
    "VolumesFrom": "--volumes-from: volumes are not supported yet",
    "Links": "--link needs a bridge network, which this engine does not have yet",
    "DeviceRequests": "--gpus: device requests are not supported",
    "BlkioWeightDevice": "--blkio-weight-device is not supported: cgroup v2 has one weight for all devices here",
}
_TABLES = {
    "PortBindings": "publishing ports needs a bridge network, which this engine does not have yet",
    "StorageOpt": "--storage-opt is not supported: writable layers have no size of their own",
}
_TEXTS = {
    "VolumeDriver": "--volume-driver: volumes are not supported yet",
}
_NUMBERS = {
    "CpuRealtimePeriod": "--cpu-rt-period is not supported: cgroup v2 has no realtime limits",
    "CpuRealtimeRuntime": "--cpu-rt-runtime is not supported: cgroup v2 has no realtime limits",
    "KernelMemory": "--kernel-memory is not supported: cgroup v2 has no limit of kernel memory",
    "KernelMemoryTCP": "KernelMemoryTCP is not supported: cgroup v2 has no limit of TCP memory",
}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ENDPOINT = ("IPAMConfig", "MacAddress", "Links", "Aliases", "DriverOpts")


def refuse_unsupported(body: Body, host: Body) -> None:
    """Raises `Rejected` for the first thing that cannot be kept."""
    policy = text(table(host, "RestartPolicy"), "Name")
    if policy not in {"", "no"}:
        raise _unsupported(f"restart policy {policy!r} is not supported yet: only no")
    for asked, reason in _asked_of_host(host):
        if asked:
            raise _unsupported(reason)
    runtime = text(host, "Runtime")
    if runtime not in {"", RUNTIME}:
        raise wrong(f"unknown or invalid runtime name: {runtime}")
    if text(host, "Isolation") not in {"", "default"}:
        raise wrong(f"invalid isolation: {text(host, 'Isolation')!r}: this engine knows default")
    _refuse_health_check(body)
    _refuse_endpoint(body)


def refuse_anonymous_volumes(body: Body, targets: set[str]) -> None:
    """A path that Docker would mount an anonymous volume on; compose names the targets of its binds there too."""
    for path in table(body, "Volumes"):
        if path.rstrip("/") not in {target.rstrip("/") for target in targets}:
            raise _unsupported(f"anonymous volume {path!r} is not supported yet: name a host directory")


def refuse_platform(asked: str, image: Image) -> None:
    """``platform=`` of a create: ``os``, ``arch`` or ``os/arch[/variant]``. Another than the image's is not found."""
    have = (image.operating_system, image.architecture)
    wanted = tuple(_ARCHITECTURES.get(part, part) for part in asked.lower().split("/"))
    if not (wanted[:2] == have if len(wanted) > 1 else wanted[0] in have):
        raise Rejected(
            NotFound(
                f"image with reference {image.id} was found but does not match the specified platform: "
                f"wanted {asked}, actual: {'/'.join(have)}"
            )
        )


def _unsupported(reason: str) -> Rejected:
    return Rejected(Unsupported(reason))


def _asked_of_host(host: Body) -> list[tuple[object, str]]:
    swappiness = host.get("MemorySwappiness")
    return [
        *(
            (objects(host, key) if key not in {"VolumesFrom", "Links"} else texts(host, key), why)
            for key, why in _LISTS.items()
        ),
        *((table(host, key), why) for key, why in _TABLES.items()),
        *((text(host, key), why) for key, why in _TEXTS.items()),
        *((integer(host, key), why) for key, why in _NUMBERS.items()),
        (host.get("PublishAllPorts") is True, _TABLES["PortBindings"]),
        (swappiness not in (None, -1), "--memory-swappiness is not supported: cgroup v2 has no such setting"),
    ]


def _refuse_health_check(body: Body) -> None:
    test = texts(table(body, "Healthcheck"), "Test")
    if test and test[0] != "NONE":
        raise _unsupported("--health-cmd: health checks are not supported yet")


def _refuse_endpoint(body: Body) -> None:
    if text(body, "MacAddress"):
        raise _unsupported("--mac-address needs a bridge network, which this engine does not have yet")
    for name, settings in table(table(body, "NetworkingConfig"), "EndpointsConfig").items():
        for key in _ENDPOINT:
            asked: Any = settings.get(key) if isinstance(settings, dict) else None
            if asked:
                raise _unsupported(f"network {checked('EndpointsConfig', name)}: {key} needs a bridge network, "
                                   "which this engine does not have yet")  # fmt: skip

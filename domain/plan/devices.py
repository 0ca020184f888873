"""Devices of a container: its nodes in /dev, and the filter of its cgroup. Both are needed, since MKNOD makes further nodes."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache

from docket.domain.confinement.device_rules import device_program, parse_rule
from docket.domain.confinement.masks import DEVICE_LINKS, DEVICE_NODES, DeviceRule, device_rules
from docket.domain.errors import InvalidArgument, Rejected, Unsupported
from docket.domain.model.container.spec import ContainerSpec, DeviceSpec, Resources
from docket.domain.plan import operations as op
from docket.domain.plan.settings import GivenDevice
from docket.domain.ports import HostDevice, HostFacts, Kernel

_OF_EVERY_CONTAINER = frozenset(
    (*(f"/dev/{node.name}" for node in DEVICE_NODES), *(path for path, _ in DEVICE_LINKS), "/dev/console", "/dev/ptmx")
)
_OWN_FILESYSTEMS = ("/dev/pts", "/dev/shm", "/dev/mqueue")


def check(spec: ContainerSpec, host: HostFacts) -> None:
    """Raises `Rejected` where there is no cgroup to put a filter in: without one MKNOD would open every disk of the host."""
    if not host.cgroup_root and not spec.privileged:
        raise Rejected(Unsupported("this host has no cgroup2 hierarchy, without which devices cannot be confined: mount one"))


def given(asked: DeviceSpec, found: tuple[HostDevice, ...]) -> tuple[GivenDevice, ...]:
    """What ``--device`` gives: the device itself, or all below a directory. Raises `Rejected` when there is none."""
    if not found:
        told = f'error gathering device information while adding custom device "{asked.source}": no such device'
        raise Rejected(InvalidArgument(told))
    alone = len(found) == 1 and found[0].path == asked.source
    targets = [asked.target if alone else asked.target + each.path.removeprefix(asked.source) for each in found]
    return tuple(GivenDevice(each, target, asked.permissions) for each, target in zip(found, targets, strict=True))


def of_the_host(found: tuple[HostDevice, ...]) -> tuple[GivenDevice, ...]:
    """What a privileged container gets: all of /dev but for what is its own anyway."""
    return tuple(
        GivenDevice(each, each.path)
        for each in found
        if each.path not in _OF_EVERY_CONTAINER and not any(each.path.startswith(f"{top}/") for top in _OWN_FILESYSTEMS)
    )


def rules(spec: ContainerSpec, devices: tuple[GivenDevice, ...]) -> tuple[DeviceRule, ...]:
    """The whole list, from Docker's defaults to what was asked for; the last word on a device counts."""
    if spec.privileged:
        return device_rules(privileged=True)
    nodes = (DeviceRule(True, each.device.kind, each.device.major, each.device.minor, each.permissions) for each in devices)
    return (*device_rules(), *nodes, *(parse_rule(text) for text in spec.device_rules))


def filter_of(cgroup: str, spec: ContainerSpec, devices: tuple[GivenDevice, ...]) -> tuple[op.AnyOperation, ...]:
    """A privileged container may use every device, and needs no filter for it."""
    if spec.privileged or not cgroup:
        return ()
    return (op.AttachDeviceFilter(cgroup, _program(rules(spec, devices))),)


@lru_cache(maxsize=32)
def _program(asked: tuple[DeviceRule, ...]) -> str:
    """Most containers have the same rules."""
    return b64encode(device_program(asked)).decode()


def nodes(spec: ContainerSpec, devices: tuple[GivenDevice, ...]) -> tuple[op.AnyOperation, ...]:
    """Bound, so that owner and mode are the host's; for a privileged container made, since they are hundreds."""
    if spec.privileged:
        return tuple(
            op.MakeNodeInRoot(each.target, each.device.kind, each.device.major, each.device.minor, each.device.mode)
            for each in devices
        )
    return tuple(op.BindInRoot(each.device.path, each.target, recursive=False) for each in devices)


async def block_devices(kernel: Kernel, resources: Resources) -> dict[str, str]:
    """The numbers of the block devices that limits name. Raises `Rejected` for a path that is none."""
    numbers: dict[str, str] = {}
    for path in dict.fromkeys(limit.device for limit in resources.blkio):
        found = await kernel.devices(path)
        if len(found) != 1 or found[0].kind != "b":
            raise Rejected(InvalidArgument(f"cannot limit {path}: no such block device"))
        numbers[path] = f"{found[0].major}:{found[0].minor}"
    return numbers

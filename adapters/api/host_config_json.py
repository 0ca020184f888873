"""``HostConfig`` of an inspect: what was asked for, normalised, and the neutral value of what this engine does not have.

Clients written in Go or typed Python expect every field; a missing one and an empty one are not the same to all of them.
"""

from __future__ import annotations

from typing import Any

from docket.domain.confinement.masks import MASKED_PATHS, READONLY_PATHS
from docket.domain.model.container.spec import ContainerSpec, Resources

RATES = {
    "BlkioDeviceReadBps": "rbps",
    "BlkioDeviceWriteBps": "wbps",
    "BlkioDeviceReadIOps": "riops",
    "BlkioDeviceWriteIOps": "wiops",
}
"""Docker's rate limits by the names of io.max (cgroup-v2)."""

_UNSUPPORTED: dict[str, Any] = {
    "ContainerIDFile": "",
    "VolumeDriver": "",
    "VolumesFrom": None,
    "Cgroup": "",
    "Links": None,
    "PublishAllPorts": False,
    "Isolation": "",
    "BlkioWeightDevice": [],
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "DeviceRequests": None,
    "MemorySwappiness": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
}


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """The settings of a container in Docker's form."""
    resources = spec.resources
    return {
        **_UNSUPPORTED,
        "Binds": [_bind_text(mount) for mount in spec.mounts if mount.kind == "bind"] or None,
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in spec.mounts if mount.kind == "tmpfs"} or None,
        "LogConfig": {"Type": spec.log_driver, "Config": spec.log_options},
        "NetworkMode": spec.asked_network,
        "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": spec.auto_remove,
        "ConsoleSize": list(spec.console_size),
        "CapAdd": [_capability(name) for name in spec.cap_add] or None,
        "CapDrop": [_capability(name) for name in spec.cap_drop] or None,
        "CgroupParent": spec.cgroup_parent,
        "CgroupnsMode": spec.cgroupns,
        "Dns": list(spec.dns),
        "DnsOptions": list(spec.dns_options),
        "DnsSearch": list(spec.dns_search),
        "ExtraHosts": list(spec.extra_hosts) or None,
        "GroupAdd": list(spec.group_add) or None,
        "IpcMode": spec.ipc,
        "Init": spec.init or None,
        "PidMode": spec.pid,
        "UTSMode": spec.uts,
        "UsernsMode": spec.userns,
        "OomScoreAdj": spec.oom_score_adj,
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.readonly_rootfs,
        "SecurityOpt": list(spec.security_options) or None,
        "ShmSize": spec.shm_bytes,
        "Sysctls": spec.sysctls or None,
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in spec.ulimits],
        "Memory": resources.memory_bytes,
        "MemoryReservation": resources.memory_reservation_bytes,
        "MemorySwap": resources.memory_swap_bytes,
        "CpuShares": resources.cpu_shares,
        "NanoCpus": resources.nano_cpus,
        "CpuQuota": resources.cpu_quota_us,
        "CpuPeriod": resources.cpu_period_us,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "PidsLimit": resources.pids_limit or None,
        "BlkioWeight": resources.blkio_weight,
        **{name: _rates(resources, limit) for name, limit in RATES.items()},
        "Devices": [
            {"PathOnHost": device.source, "PathInContainer": device.target, "CgroupPermissions": device.permissions}
            for device in spec.devices
        ],
        "DeviceCgroupRules": list(spec.device_rules) or None,
        **_own_limits(resources),
        "OomKillDisable": resources.oom_kill_disable,
        "Runtime": "docket",
        "MaskedPaths": list(MASKED_PATHS if spec.masked_paths is None else spec.masked_paths),
        "ReadonlyPaths": list(READONLY_PATHS if spec.readonly_paths is None else spec.readonly_paths),
    }


def _own_limits(resources: Resources) -> dict[str, Any]:
    """Limits that Docker has no field for, in the shape of the OCI runtime specification; there only when they were asked for."""
    found: dict[str, Any] = {}
    if resources.hugepages:
        found["HugepageLimits"] = [{"pageSize": each.page_size, "limit": each.bytes} for each in resources.hugepages]
    if resources.rdma:
        counts = {each.device: {"hcaHandles": each.handles, "hcaObjects": each.objects} for each in resources.rdma}
        found["Rdma"] = {
            device: {name: count for name, count in limits.items() if count is not None} for device, limits in counts.items()
        }
    return found


def _capability(name: str) -> str:
    name = name.upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _bind_text(mount: Any) -> str:
    return f"{mount.source}:{mount.target}{':ro' if mount.readonly else ''}"


def _rates(resources: Resources, limit: str) -> list[dict[str, Any]] | None:
    return [{"Path": each.device, "Rate": each.rate} for each in resources.blkio if each.limit == limit] or None

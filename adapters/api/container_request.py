"""The body of ``POST /containers/create`` as a `Create` request. Raises `Rejected` (InvalidArgument) for what is not valid."""

from __future__ import annotations

from docket.adapters.api.fields import (
    Body,
    checked,
    checked_object,
    console_size,
    flag,
    integer,
    mapping,
    names,
    objects,
    table,
    text,
    texts,
    wrong,
)  # fmt: skip
from docket.adapters.api.host_config_json import RATES
from docket.adapters.api.log_request import log_request
from docket.adapters.api.mount_request import mounts
from docket.adapters.api.unsupported import refuse_anonymous_volumes, refuse_unsupported
from docket.domain.confinement.cgroup_parent import check_cgroup_parent
from docket.domain.confinement.signals import parse_signal
from docket.domain.errors import Rejected, Unsupported
from docket.domain.jobs.create import Create
from docket.domain.model.container.spec import BlockIo, ContainerSpec, DeviceSpec, HugepageLimit, RdmaLimit, Resources, Ulimit


def create_request(body: Body, name: str) -> Create:
    """Translate Docker's Config and HostConfig."""
    host = table(body, "HostConfig")
    refuse_unsupported(body, host)
    log, mounted = log_request(host), mounts(host)
    refuse_anonymous_volumes(body, {mount.target for mount in mounted})
    spec = ContainerSpec(
        image=text(body, "Image"),
        working_directory=text(body, "WorkingDir"),
        user=text(body, "User"),
        stop_signal=_signal(text(body, "StopSignal")),
        stop_timeout_seconds=None if body.get("StopTimeout") is None else integer(body, "StopTimeout"),
        labels=mapping(body, "Labels"),
        annotations=mapping(host, "Annotations"),
        exposed_ports=names(body, "ExposedPorts"),
        volumes=names(body, "Volumes"),
        terminal=flag(body, "Tty"),
        stdin=flag(body, "OpenStdin"),
        stdin_once=flag(body, "StdinOnce"),
        attach=tuple(stream for stream in ("Stdin", "Stdout", "Stderr") if flag(body, f"Attach{stream}")),
        console_size=console_size(host),
        hostname=text(body, "Hostname"),
        domainname=text(body, "Domainname"),
        network=_network(text(host, "NetworkMode")),
        asked_network=text(host, "NetworkMode") or "default",
        pid=text(host, "PidMode"),
        ipc=text(host, "IpcMode") or "private",
        uts=text(host, "UTSMode"),
        cgroupns=text(host, "CgroupnsMode") or "private",
        userns=text(host, "UsernsMode"),
        extra_hosts=texts(host, "ExtraHosts"),
        dns=texts(host, "Dns"),
        dns_search=texts(host, "DnsSearch"),
        dns_options=texts(host, "DnsOptions"),
        readonly_rootfs=flag(host, "ReadonlyRootfs"),
        mounts=mounted,
        shm_bytes=integer(host, "ShmSize"),
        log_driver=log.driver,
        log_options=log.options,
        log_max_bytes=log.max_bytes,
        log_files=log.files,
        devices=tuple(_device(device) for device in objects(host, "Devices")),
        device_rules=texts(host, "DeviceCgroupRules"),
        privileged=flag(host, "Privileged"),
        cap_add=texts(host, "CapAdd"),
        cap_drop=texts(host, "CapDrop"),
        security_options=texts(host, "SecurityOpt"),
        masked_paths=None if host.get("MaskedPaths") is None else texts(host, "MaskedPaths"),
        readonly_paths=None if host.get("ReadonlyPaths") is None else texts(host, "ReadonlyPaths"),
        group_add=texts(host, "GroupAdd"),
        ulimits=tuple(
            Ulimit(text(each, "Name"), integer(each, "Soft"), integer(each, "Hard")) for each in objects(host, "Ulimits")
        ),
        sysctls=mapping(host, "Sysctls"),
        resources=resources_of(host),
        oom_score_adj=integer(host, "OomScoreAdj"),
        init=flag(host, "Init"),
        cgroup_parent=check_cgroup_parent(text(host, "CgroupParent")),
        auto_remove=flag(host, "AutoRemove"),
    )
    return Create(spec, name, _arguments(body, "Entrypoint"), _arguments(body, "Cmd"), texts(body, "Env"))


def update_request(body: Body) -> Resources:
    """The body of ``POST /containers/{id}/update``; what it does not name stays as it is."""
    refuse_unsupported({}, body)
    return resources_of(body)


def resources_of(host: Body) -> Resources:
    """The limits of a create or an update."""
    return Resources(
        memory_bytes=integer(host, "Memory"),
        memory_reservation_bytes=integer(host, "MemoryReservation"),
        memory_swap_bytes=integer(host, "MemorySwap"),
        cpu_shares=integer(host, "CpuShares"),
        nano_cpus=integer(host, "NanoCpus"),
        cpu_quota_us=integer(host, "CpuQuota"),
        cpu_period_us=integer(host, "CpuPeriod"),
        cpuset_cpus=text(host, "CpusetCpus"),
        cpuset_mems=text(host, "CpusetMems"),
        pids_limit=integer(host, "PidsLimit"),
        blkio_weight=integer(host, "BlkioWeight"),
        blkio=tuple(
            BlockIo(text(each, "Path"), limit, integer(each, "Rate"))
            for key, limit in RATES.items()
            for each in objects(host, key)
        ),
        hugepages=tuple(
            HugepageLimit(text(each, "pageSize"), integer(each, "limit")) for each in objects(host, "HugepageLimits")
        ),
        rdma=tuple(_rdma(checked("Rdma", device), limit) for device, limit in table(host, "Rdma").items()),
        oom_kill_disable=flag(host, "OomKillDisable"),
    )


def _rdma(device: str, limit: object) -> RdmaLimit:
    counts = checked_object(limit, f"Rdma {device}")
    handles, objects_ = (None if counts.get(key) is None else integer(counts, key) for key in ("hcaHandles", "hcaObjects"))
    return RdmaLimit(device, handles, objects_)


def _network(mode: str) -> str:
    if mode in {"", "default", "none"}:
        return "none"
    if mode == "host" or mode.startswith("container:"):
        return mode
    raise Rejected(Unsupported(f"network {mode} is not supported yet: only none, host and container:ID"))


def _device(device: Body) -> DeviceSpec:
    source = text(device, "PathOnHost")
    return DeviceSpec(source, text(device, "PathInContainer") or source, text(device, "CgroupPermissions") or "rwm")


def _signal(name: str) -> str:
    if name:
        parse_signal(name)
    return name


def _arguments(body: Body, key: str) -> tuple[str, ...] | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        return (checked(key, value),)
    if not isinstance(value, list):
        raise wrong(f"{key} must be a string or a list of strings")
    return texts(body, key)

"""The body of ``POST /containers/create`` as a `Create` request. Raises `Rejected` (InvalidArgument) for what is not valid."""

from __future__ import annotations

from typing import Any

from docket.domain.confinement.signals import parse_signal
from docket.domain.errors import InvalidArgument, Rejected, Unsupported
from docket.domain.jobs.create import Create
from docket.domain.model.container.spec import ContainerSpec, DeviceSpec, MountSpec, Resources, Ulimit

_PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave"})
_RESTART_POLICIES = frozenset({"", "no"})


def create_request(body: dict[str, Any], name: str) -> Create:
    """Translate Docker's Config and HostConfig."""
    host: dict[str, Any] = body.get("HostConfig") or {}
    _refuse_unsupported(host)
    spec = ContainerSpec(
        image=_text(body, "Image"),
        working_directory=_text(body, "WorkingDir"),
        user=_text(body, "User"),
        stop_signal=_signal(_text(body, "StopSignal")),
        stop_timeout_seconds=body.get("StopTimeout"),
        labels=_mapping(body, "Labels"),
        annotations=_mapping(host, "Annotations"),
        exposed_ports=tuple(body.get("ExposedPorts") or ()),
        volumes=tuple(body.get("Volumes") or ()),
        terminal=bool(body.get("Tty")),
        stdin=bool(body.get("OpenStdin")),
        stdin_once=bool(body.get("StdinOnce")),
        attach=tuple(stream for stream in ("Stdin", "Stdout", "Stderr") if body.get(f"Attach{stream}")),
        console_size=_console(host.get("ConsoleSize")),
        hostname=_text(body, "Hostname"),
        domainname=_text(body, "Domainname"),
        network=_network(_text(host, "NetworkMode")),
        asked_network=_text(host, "NetworkMode") or "default",
        pid=_text(host, "PidMode"),
        ipc=_text(host, "IpcMode") or "private",
        uts=_text(host, "UTSMode"),
        cgroupns=_text(host, "CgroupnsMode") or "private",
        userns=_text(host, "UsernsMode"),
        extra_hosts=_list(host, "ExtraHosts"),
        dns=_list(host, "Dns"),
        dns_search=_list(host, "DnsSearch"),
        dns_options=_list(host, "DnsOptions"),
        readonly_rootfs=bool(host.get("ReadonlyRootfs")),
        mounts=_mounts(host),
        shm_bytes=host.get("ShmSize") or 0,
        log_max_bytes=0,
        log_files=0,
        devices=tuple(
            DeviceSpec(device["PathOnHost"], device["PathInContainer"], device.get("CgroupPermissions") or "rwm")
            for device in host.get("Devices") or ()
        ),
        privileged=bool(host.get("Privileged")),
        cap_add=_list(host, "CapAdd"),
        cap_drop=_list(host, "CapDrop"),
        security_options=_list(host, "SecurityOpt"),
        masked_paths=None if host.get("MaskedPaths") is None else tuple(host["MaskedPaths"]),
        readonly_paths=None if host.get("ReadonlyPaths") is None else tuple(host["ReadonlyPaths"]),
        group_add=_list(host, "GroupAdd"),
        ulimits=tuple(Ulimit(each["Name"], each["Soft"], each["Hard"]) for each in host.get("Ulimits") or ()),
        sysctls=_mapping(host, "Sysctls"),
        resources=_resources(host),
        oom_score_adj=host.get("OomScoreAdj") or 0,
        auto_remove=bool(host.get("AutoRemove")),
    )
    return Create(spec, name, _arguments(body.get("Entrypoint")), _arguments(body.get("Cmd")), _list(body, "Env"))


def _refuse_unsupported(host: dict[str, Any]) -> None:
    policy = (host.get("RestartPolicy") or {}).get("Name", "")
    if policy not in _RESTART_POLICIES:
        raise Rejected(Unsupported(f"restart policy {policy!r} is not supported yet: only no"))
    if host.get("Init"):
        raise Rejected(Unsupported("--init is not supported yet"))
    if host.get("PortBindings"):
        raise Rejected(Unsupported("publishing ports needs a bridge network, which this engine does not have yet"))


def _network(mode: str) -> str:
    if mode in {"", "default", "none"}:
        return "none"
    if mode == "host" or mode.startswith("container:"):
        return mode
    raise Rejected(Unsupported(f"network {mode} is not supported yet: only none, host and container:ID"))


def _mounts(host: dict[str, Any]) -> tuple[MountSpec, ...]:
    binds = [_bind(text) for text in host.get("Binds") or ()]
    long_form = [_mount(each) for each in host.get("Mounts") or ()]
    tmpfs = [
        MountSpec("tmpfs", path, options=tuple(option for option in options.split(",") if option))
        for path, options in (host.get("Tmpfs") or {}).items()
    ]
    mounts = (*binds, *long_form, *tmpfs)
    targets = [mount.target for mount in mounts]
    for target in targets:
        if not target.startswith("/"):
            raise Rejected(InvalidArgument(f"invalid mount config: invalid mount path: '{target}' mount path must be absolute"))
        if targets.count(target) > 1:
            raise Rejected(InvalidArgument(f"Duplicate mount point: {target}"))
    return mounts


def _bind(text: str) -> MountSpec:
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise Rejected(InvalidArgument(f"invalid volume specification: '{text}'"))
    source, target, *rest = parts
    if not source.startswith("/"):
        raise Rejected(Unsupported(f"named volume {source!r} is not supported yet: name a host directory"))
    options = rest[0].split(",") if rest else []
    propagation = next((option for option in options if option in _PROPAGATIONS), "rprivate")
    for option in options:
        if option not in _PROPAGATIONS | {"ro", "rw", "z", "Z", "cached", "delegated", "consistent"}:
            raise Rejected(InvalidArgument(f"invalid mode: {rest[0]}"))
    return MountSpec("bind", target, source, "ro" in options, propagation, create_source=True)


def _mount(mount: dict[str, Any]) -> MountSpec:
    kind, target = mount.get("Type"), mount.get("Target") or ""
    readonly = bool(mount.get("ReadOnly"))
    if kind == "tmpfs":
        options = mount.get("TmpfsOptions") or {}
        return MountSpec(
            "tmpfs", target, "", readonly, size_bytes=options.get("SizeBytes") or 0, mode=options.get("Mode") or 0o1777
        )
    if kind != "bind":
        raise Rejected(Unsupported(f"mount type {kind!r} is not supported yet: only bind and tmpfs"))
    options = mount.get("BindOptions") or {}
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise Rejected(Unsupported(f"mount propagation {propagation!r} is not supported yet"))
    return MountSpec("bind", target, mount.get("Source") or "", readonly, propagation, not options.get("NonRecursive"))


def _resources(host: dict[str, Any]) -> Resources:
    return Resources(
        memory_bytes=host.get("Memory") or 0,
        memory_reservation_bytes=host.get("MemoryReservation") or 0,
        memory_swap_bytes=host.get("MemorySwap") or 0,
        cpu_shares=host.get("CpuShares") or 0,
        nano_cpus=host.get("NanoCpus") or 0,
        cpu_quota_us=host.get("CpuQuota") or 0,
        cpu_period_us=host.get("CpuPeriod") or 0,
        cpuset_cpus=host.get("CpusetCpus") or "",
        cpuset_mems=host.get("CpusetMems") or "",
        pids_limit=host.get("PidsLimit") or 0,
        blkio_weight=host.get("BlkioWeight") or 0,
    )


def _signal(text: str) -> str:
    return "" if not text else str(parse_signal(text))


def _console(size: list[int] | None) -> tuple[int, int]:
    return (size[0], size[1]) if size and len(size) == 2 else (0, 0)


def _arguments(value: list[str] | str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return (value,) if isinstance(value, str) else tuple(value)


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key) or ""
    if not isinstance(value, str):
        raise Rejected(InvalidArgument(f"{key} must be a string"))
    return value


def _list(body: dict[str, Any], key: str) -> tuple[str, ...]:
    value = body.get(key) or ()
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise Rejected(InvalidArgument(f"{key} must be a list of strings"))
    return tuple(value)


def _mapping(body: dict[str, Any], key: str) -> dict[str, str]:
    value = body.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        raise Rejected(InvalidArgument(f"{key} must be an object of strings"))
    return dict(value)

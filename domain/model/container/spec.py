"""What a container is asked to be: the settings that `ContainerCreated` keeps and every later start is planned from.

Image defaults are merged in when the container is created, so a start needs no image config. Environment *values* are not
here: ``environment`` names a secret (S54) and ``environment_names`` says for people which variables it holds. Sizes are bytes,
durations seconds. None means "not asked for" where that differs from an empty value.
"""

from __future__ import annotations

import msgspec

from docket.domain.confinement.id_maps import IdMaps


class MountSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One bind mount or tmpfs. ``source`` is a host path, empty for a tmpfs."""

    kind: str
    target: str
    source: str = ""
    readonly: bool = False
    propagation: str = "rprivate"
    recursive: bool = True
    create_source: bool = False
    """``-v`` makes a missing host directory, ``--mount`` refuses it."""
    readonly_recursive: bool = True
    """Whether ``readonly`` holds for mounts below as well, as in Docker since 25."""
    size_bytes: int = 0
    mode: int = 0o1777
    options: tuple[str, ...] = ()
    """Further tmpfs options, as ``--tmpfs`` takes them."""


class Ulimit(msgspec.Struct, frozen=True):
    name: str
    soft: int
    hard: int


class DeviceSpec(msgspec.Struct, frozen=True):
    """A host device that the container gets."""

    source: str
    target: str
    permissions: str = "rwm"


class BlockIo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rate limit on one block device; ``limit`` is ``rbps wbps riops`` or ``wiops``."""

    device: str
    limit: str
    rate: int


class HugepageLimit(msgspec.Struct, frozen=True):
    """How much of huge pages of one size, such as ``2MB``, may be used and reserved."""

    page_size: str
    bytes: int


class RdmaLimit(msgspec.Struct, frozen=True):
    """Handles and objects of one RDMA device; None is not limited."""

    device: str
    handles: int | None = None
    objects: int | None = None


class Resources(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits that a cgroup applies; zero and the empty string are "no limit asked for"."""

    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swap_bytes: int = 0
    """Memory and swap together; -1 is unlimited swap."""
    cpu_shares: int = 0
    nano_cpus: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    """-1 is unlimited."""
    blkio_weight: int = 0
    blkio: tuple[BlockIo, ...] = ()
    hugepages: tuple[HugepageLimit, ...] = ()
    rdma: tuple[RdmaLimit, ...] = ()
    oom_kill_disable: bool = False


def updated(resources: Resources, asked: Resources) -> Resources:
    """``resources`` with what was asked for in their place. CPUs by count and by quota replace each other, as in Docker."""
    changes = {name: value for name in Resources.__struct_fields__ if (value := getattr(asked, name))}
    if asked.nano_cpus:
        changes |= {"cpu_quota_us": 0, "cpu_period_us": 0}
    elif asked.cpu_quota_us or asked.cpu_period_us:
        changes["nano_cpus"] = 0
    if asked.memory_bytes and not asked.memory_swap_bytes and resources.memory_swap_bytes > 0:
        changes["memory_swap_bytes"] = max(resources.memory_swap_bytes, asked.memory_bytes)
    return msgspec.structs.replace(resources, **changes)


class ContainerSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    # What runs.
    image: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: str = ""
    environment_names: tuple[str, ...] = ()
    working_directory: str = ""
    user: str = ""
    stop_signal: str = ""
    stop_timeout_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()

    # Its streams.
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False
    attach: tuple[str, ...] = ()
    console_size: tuple[int, int] = (0, 0)
    log_driver: str = "json-file"
    log_max_bytes: int = 10_000_000
    log_files: int = 3
    log_options: dict[str, str] = {}

    # Its namespaces.
    hostname: str = ""
    domainname: str = ""
    network: str = "none"
    """``none``, ``host`` or ``container:<id>``."""
    asked_network: str = "default"
    pid: str = ""
    ipc: str = "private"
    uts: str = ""
    cgroupns: str = "private"
    userns: str = ""
    id_maps: IdMaps | None = None
    """The ids of a user namespace of its own; None shares the host's. What the engine was told when the container was created."""
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()

    # Its filesystem.
    readonly_rootfs: bool = False
    mounts: tuple[MountSpec, ...] = ()
    shm_bytes: int = 67_108_864
    devices: tuple[DeviceSpec, ...] = ()
    device_rules: tuple[str, ...] = ()

    # Its confinement and limits.
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    group_add: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: dict[str, str] = {}
    resources: Resources = Resources()
    oom_score_adj: int = 0
    init: bool = False
    cgroup_parent: str = ""
    cgroup_driver: str = "cgroupfs"
    """``cgroupfs`` or ``systemd``: who makes its cgroup."""

    # Its life.
    auto_remove: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """The whole command line of the first process."""
        return (*self.entrypoint, *self.command)

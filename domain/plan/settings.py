"""What a plan needs to know beside the container's own specification: places, host facts, and other containers' processes."""

from __future__ import annotations

import msgspec

from docket.domain.confinement.cgroup_parent import parent_path
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.plan.operations import StartScope
from docket.domain.ports import HostDevice, HostFacts, ProcessIdentity

DEFAULT_SLICE = "system.slice"
"""Where systemd puts the scopes of containers that do not say, as with Docker."""


class Places(msgspec.Struct, frozen=True):
    """Where the engine keeps things on the host."""

    data_root: str
    exec_root: str
    group: str = "docket"
    """The cgroup that holds the containers', below the root of the hierarchy. It is this engine's alone: what it does not know of
    in there it removes, so an engine beside it has another one."""

    @property
    def rootfs(self) -> str:
        """The one empty directory that every container mounts its root on, in its own mount namespace."""
        return f"{self.exec_root}/rootfs"

    @property
    def containers(self) -> str:
        """Where the containers' lasting directories are."""
        return f"{self.data_root}/containers"

    def container(self, container: str) -> str:
        """A container's lasting directory: writable layer, output, exit status."""
        return f"{self.containers}/{container}"

    @property
    def runtimes(self) -> str:
        """Where the containers' volatile directories are."""
        return f"{self.exec_root}/containers"

    def runtime(self, container: str) -> str:
        """A container's volatile directory: generated files."""
        return f"{self.runtimes}/{container}"

    @property
    def shims(self) -> str:
        """Where the shims' own directories are."""
        return f"{self.exec_root}/shims"

    def shim(self, key: str) -> str:
        return f"{self.shims}/{key}"

    def log(self, container: str) -> str:
        return f"{self.container(container)}/container.log"

    def exit_file(self, container: str, exec_id: str = "") -> str:
        return f"{self.container(container)}/{f'exec-{exec_id}' if exec_id else 'init'}.exit"

    def cgroups(self, host: HostFacts) -> str:
        """The cgroup that holds the containers' own; empty without a cgroup2 hierarchy."""
        return f"{host.cgroup_root}/{self.group}" if host.cgroup_root else ""

    def cgroup(self, host: HostFacts, container: str, spec: ContainerSpec) -> str:
        """A container's cgroup: in its scope, or else among the engine's own, unless it was given another parent."""
        if not host.cgroup_root:
            return ""
        if spec.cgroup_driver == "systemd":
            return f"{self.scope(host, container, spec).path}/container"
        parent = spec.cgroup_parent
        above = f"{host.cgroup_root}/{parent_path(parent)}".rstrip("/") if parent else self.cgroups(host)
        return f"{above}/{container}"

    def scope(self, host: HostFacts, container: str, spec: ContainerSpec) -> StartScope:
        """The scope of a container whose cgroup systemd makes."""
        slice_ = spec.cgroup_parent or DEFAULT_SLICE
        unit = f"docket-{container}.scope"
        return StartScope(f"{host.cgroup_root}/{parent_path(slice_)}".rstrip("/") + f"/{unit}", unit, slice_)


class Peers(msgspec.Struct, frozen=True):
    """Running processes of other containers whose namespaces are to be joined."""

    network: ProcessIdentity | None = None
    pid: ProcessIdentity | None = None
    ipc: ProcessIdentity | None = None


class HostFiles(msgspec.Struct, frozen=True):
    """Host files that a container's generated ones are made from."""

    resolv_conf: str = ""
    hosts: str = ""


class GivenDevice(msgspec.Struct, frozen=True):
    """A host device that a container gets, as the host has it now; ``target`` is its path inside."""

    device: HostDevice
    target: str
    permissions: str = "rwm"


class HostDevices(msgspec.Struct, frozen=True):
    """What a plan needs to know of the host's devices: those that the container gets, and the ones that its limits name."""

    given: tuple[GivenDevice, ...] = ()
    numbers: dict[str, str] = {}
    """``major:minor`` of block devices, by path."""

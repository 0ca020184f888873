"""The whole plan of a container's first process, and of an exec in it.

The order inside the process is what security depends on, and a test holds every plan against it:

    namespaces · mounts · user looked up · pivot · masks · limits · [filter] · bounding set · user · capabilities
    · working directory · [no-new-privileges · filter] · execve

Without no-new-privileges a seccomp filter needs CAP_SYS_ADMIN, so it is loaded before capabilities go; with it, last (seccomp(2)).
"""

from __future__ import annotations

from base64 import b64encode

import msgspec

from docket.domain.init_program.program import init_program
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.plan import cgroup as cgroups
from docket.domain.plan import devices, rootfs
from docket.domain.plan import operations as op
from docket.domain.plan.operations import Plan
from docket.domain.plan.settings import HostDevices, HostFiles, Peers, Places
from docket.domain.ports import HostFacts, ProcessIdentity


class Confinement(msgspec.Struct, frozen=True):
    """The effective security of a start (S58): what `ContainerStarted` says was in force."""

    capabilities: int
    no_new_privileges: bool = False
    seccomp_program: str = ""
    """struct sock_filter array in base64; empty is unconfined."""
    seccomp_digest: str = ""
    apparmor: str = ""
    """The AppArmor profile; empty where there is no AppArmor, and for unconfined."""


class Surroundings(msgspec.Struct, frozen=True):
    """Everything around the container that a plan depends on."""

    host: HostFacts
    places: Places
    lowerdirs: tuple[str, ...]
    confinement: Confinement
    peers: Peers = Peers()
    files: HostFiles = HostFiles()
    devices: HostDevices = HostDevices()


def container_plan(container: str, spec: ContainerSpec, around: Surroundings) -> Plan:
    """The plan that starts ``container``."""
    cgroup = around.places.cgroup(around.host, container, spec)
    joined = (op.JoinNamespaces(peer.pid, peer.start_time, ("pid",)) for peer in _given(around.peers.pid))
    lender = _lender_of_users(spec, around.peers)
    mounts = rootfs.mounts(
        container, spec, around.lowerdirs, around.places, around.host, around.peers.ipc, around.devices.given
    )
    return Plan(
        prepare=(
            *rootfs.prepare(container, spec, around.places, around.files),
            *_scope(container, spec, around),
            *cgroups.prepare(cgroup, spec.resources, around.host, around.devices.numbers),
            *devices.filter_of(cgroup, spec, around.devices.given),
            *rootfs.hold(container, spec, around.lowerdirs, around.places, mounts),
            *joined,
            *(op.JoinUsers(each.pid, each.start_time) for each in _given(lender)),
        ),
        process=op.Clone(_namespaces(spec, around.host, lender), cgroup),
        settle=_settle(spec, lender),
        inside=(
            op.Setsid(),
            *_profile(around.confinement),
            *_join_peers(around.peers),
            *((op.Unshare(("cgroup",)),) if cgroup and spec.cgroupns != "host" else ()),
            *_names(spec),
            *mounts,
            op.MakeDirectoryInRoot(spec.working_directory or "/"),
            op.ResolveUser(spec.user, spec.group_add),
            *((op.OpenTerminal(*spec.console_size),) if spec.terminal else ()),
            *(op.WriteSysctl(name, value) for name, value in _sysctls(spec).items()),
            op.PivotRoot(),
            *rootfs.seal(spec, around.host),
            *(() if spec.id_maps else _limits(spec)),
            *_confine(around.confinement, spec.working_directory or "/"),
            op.Execve(spec.arguments, _init(spec, around.host)),
        ),
    )


def exec_plan(
    init: ProcessIdentity,
    spec: ContainerSpec,
    user: str,
    directory: str,
    terminal: tuple[int, int] | None,
    cgroup: str,
    confinement: Confinement,
    host: HostFacts,
) -> Plan:
    """The plan that runs one more process in a running container whose first process is ``init``."""
    users, time = ("user",) if spec.id_maps else (), ("time",) if host.time_namespaces else ()
    return Plan(
        prepare=(op.JoinNamespaces(init.pid, init.start_time, ("pid",)),),
        process=op.Clone((), cgroup),
        settle=_limits(spec) if spec.id_maps else (),
        inside=(
            op.Setsid(),
            op.SetDumpable(0),
            *_profile(confinement),
            op.JoinNamespaces(init.pid, init.start_time, (*users, "ipc", "uts", "net", "cgroup", *time, "mount")),
            *((op.BecomeRoot(*spec.id_maps.root),) if spec.id_maps else ()),
            op.EnterRoot("/"),
            op.ResolveUser(user, spec.group_add),
            *((op.OpenTerminal(*terminal, console=False),) if terminal is not None else ()),
            *(() if spec.id_maps else _limits(spec)),
            *_confine(confinement, directory),
            op.Execve(),
        ),
    )


def _scope(container: str, spec: ContainerSpec, around: Surroundings) -> tuple[op.AnyOperation, ...]:
    systemd = spec.cgroup_driver == "systemd" and around.host.cgroup_root
    return (around.places.scope(around.host, container, spec),) if systemd else ()


def _init(spec: ContainerSpec, host: HostFacts) -> str:
    """Only a pid namespace of one's own has a first process to be; in another one Docker leaves ``--init`` out too."""
    if not spec.init or spec.pid:
        return ""
    return b64encode(init_program(host.architecture)).decode()


def _given(identity: ProcessIdentity | None) -> tuple[ProcessIdentity, ...]:
    return () if identity is None else (identity,)


def _lender_of_users(spec: ContainerSpec, peers: Peers) -> ProcessIdentity | None:
    """Whose user namespace the container is in: that which the namespaces belong to that it joins. None for a new one, or none."""
    if spec.id_maps is None:
        return None
    return peers.network or peers.pid or peers.ipc


def _namespaces(spec: ContainerSpec, host: HostFacts, lender: ProcessIdentity | None) -> tuple[str, ...]:
    private = {
        "user": spec.id_maps is not None and lender is None,
        "mount": True,
        "uts": spec.uts != "host",
        "ipc": spec.ipc in {"", "private", "shareable", "none"},
        "pid": spec.pid == "",
        "net": spec.network == "none",
        "time": host.time_namespaces,
    }
    return tuple(name for name, wanted in private.items() if wanted)


def _join_peers(peers: Peers) -> tuple[op.AnyOperation, ...]:
    """One process may lend several of its namespaces; each lender is joined once."""
    lenders: dict[ProcessIdentity, list[str]] = {}
    for name, identity in (("net", peers.network), ("ipc", peers.ipc)):
        if identity is not None:
            lenders.setdefault(identity, []).append(name)
    return tuple(op.JoinNamespaces(identity.pid, identity.start_time, tuple(names)) for identity, names in lenders.items())


def _names(spec: ContainerSpec) -> tuple[op.AnyOperation, ...]:
    named: list[op.AnyOperation] = []
    if spec.uts != "host":
        named.append(op.Sethostname(spec.hostname))
        if spec.domainname:
            named.append(op.Setdomainname(spec.domainname))
    if spec.network == "none":
        named.append(op.SetLinkUp("lo"))
    return tuple(named)


def _sysctls(spec: ContainerSpec) -> dict[str, str]:
    """Docker's own two come first, so that the user's words win; both belong to a network namespace of one's own."""
    own = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if spec.id_maps is None:
        own["net.ipv4.ping_group_range"] = "0 2147483647"  # ids that a user namespace does not map are refused
    return {**(own if spec.network == "none" else {}), **spec.sysctls}


def _settle(spec: ContainerSpec, lender: ProcessIdentity | None) -> tuple[op.AnyOperation, ...]:
    """What the host's root does for a process in a new user namespace, which could not raise its own limits any more."""
    if spec.id_maps is None:
        return ()
    maps = () if lender is not None else (op.WriteIdMaps(spec.id_maps.uids, spec.id_maps.gids),)
    return (*maps, *_limits(spec))


def _profile(confinement: Confinement) -> tuple[op.AnyOperation, ...]:
    """Through the host's procfs, before anything of the container's is in its place; it is in force from execve on."""
    return (op.SetAppArmorProfile(confinement.apparmor),) if confinement.apparmor else ()


def _limits(spec: ContainerSpec) -> tuple[op.AnyOperation, ...]:
    oom = (op.SetOomScoreAdj(spec.oom_score_adj),) if spec.oom_score_adj else ()
    return (*(op.Setrlimit(limit.name.upper(), limit.soft, limit.hard) for limit in spec.ulimits), *oom)


def _confine(confinement: Confinement, directory: str) -> tuple[op.AnyOperation, ...]:
    load = (op.LoadSeccomp(confinement.seccomp_program),) if confinement.seccomp_program else ()
    early, late = ((), load) if confinement.no_new_privileges else (load, ())
    return (
        op.Umask(),
        *early,
        op.DropBounding(confinement.capabilities),
        op.SetUser(),
        op.Capset(confinement.capabilities, confinement.capabilities),
        op.SetParentDeathSignal(),
        op.Chdir(directory),
        *((op.SetNoNewPrivileges(),) if confinement.no_new_privileges else ()),
        *late,
    )

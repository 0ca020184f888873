"""The root filesystem: overlay, the kernel's filesystems, devices, generated files, binds, masks.

Mounts, masks and device nodes are Docker's defaults (security.md, section 2). Order matters: what the user mounts comes after the
kernel's filesystems and in order of depth, so that nothing hides what was asked for; masks come after the pivot. Shared binds
come last of all: what is mounted on one appears on the host.
"""

from __future__ import annotations

from docket.domain.confinement.masks import DEVICE_LINKS, DEVICE_NODES, masked_paths, readonly_paths
from docket.domain.confinement.security_options import parse_security_options
from docket.domain.model.container.spec import ContainerSpec, MountSpec
from docket.domain.plan import devices
from docket.domain.plan import operations as op
from docket.domain.plan.settings import GivenDevice, HostFiles, Places
from docket.domain.ports import HostFacts, ProcessIdentity

SAFE = ("NOSUID", "NOEXEC", "NODEV")

GENERATED = ("hosts", "hostname", "resolv.conf")


def prepare(container: str, spec: ContainerSpec, places: Places, files: HostFiles) -> tuple[op.AnyOperation, ...]:
    """The directories of the writable layer, and the generated files, on the host."""
    lasting = places.container(container)
    runtime = places.runtime(container)
    uid, gid = spec.id_maps.root if spec.id_maps else (0, 0)
    return (
        op.MakeDirectory(lasting, 0o710, lasting=True),
        op.MakeDirectory(f"{lasting}/upper", 0o755, lasting=True),
        op.MakeDirectory(f"{lasting}/work", 0o700, lasting=True),
        op.MakeDirectory(runtime, 0o710),
        *(op.MakeDirectory(mount.source, 0o755, True, True, uid, gid) for mount in spec.mounts if mount.create_source),
        *(op.WriteFile(f"{runtime}/{name}", content, 0o644, uid, gid) for name, content in _generated(spec, files).items()),
    )


def hold(
    container: str, spec: ContainerSpec, lowerdirs: tuple[str, ...], places: Places, inside: tuple[op.AnyOperation, ...]
) -> tuple[op.AnyOperation, ...]:
    """What only the host's root can open for a process in a user namespace of its own: the overlay, and all that it binds."""
    if spec.id_maps is None:
        return ()
    lasting = places.container(container)
    lent = {each.source for each in inside if isinstance(each, op.HoldPeerTree)}
    binds = [each for each in inside if isinstance(each, op.BindInRoot) and each.source not in lent]
    return (
        op.HoldOverlay(lowerdirs, f"{lasting}/upper", f"{lasting}/work", spec.id_maps.uids, spec.id_maps.gids),
        *(op.HoldTree(bind.source, bind.recursive, bind.propagation) for bind in binds),
    )


def reclaim(container: str, places: Places) -> tuple[op.AnyOperation, ...]:
    """The undo of `prepare`, whatever the container was asked to be."""
    runtime = places.runtime(container)
    return (*(op.Unlink(f"{runtime}/{name}") for name in reversed(GENERATED)), op.RemoveDirectory(runtime))


def _generated(spec: ContainerSpec, files: HostFiles) -> dict[str, str]:
    if spec.network == "host":
        hosts, resolv = files.hosts, files.resolv_conf
    else:
        hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
        hosts += "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
        resolv = "".join(f"nameserver {server}\n" for server in spec.dns)
        resolv += f"search {' '.join(spec.dns_search)}\n" if spec.dns_search else ""
        resolv += f"options {' '.join(spec.dns_options)}\n" if spec.dns_options else ""
    for entry in spec.extra_hosts:
        name, _, address = entry.partition(":")
        hosts += f"{address}\t{name}\n"
    return {"hosts": hosts, "hostname": f"{spec.hostname}\n", "resolv.conf": resolv}


def mounts(
    container: str,
    spec: ContainerSpec,
    lowerdirs: tuple[str, ...],
    places: Places,
    host: HostFacts,
    lender: ProcessIdentity | None = None,
    given: tuple[GivenDevice, ...] = (),
) -> tuple[op.AnyOperation, ...]:
    """Everything from the first private mount to the pivot. ``lender`` is whose IPC namespace the container has."""
    lasting = places.container(container)
    held = None if lender is None else op.HoldPeerTree(lender.pid, lender.start_time, "/dev/shm")
    holds = () if spec.id_maps else tuple(mount for mount in spec.mounts if _propagates(mount))
    overlay: op.AnyOperation = op.MountOverlay(lowerdirs, f"{lasting}/upper", f"{lasting}/work", places.rootfs)
    return (
        *(op.HoldTree(mount.source, mount.recursive, mount.propagation) for mount in holds),
        *(() if held is None else (held,)),
        op.Mount("", "/", "", ("REC", "SLAVE")),
        op.AttachOverlay(places.rootfs) if spec.id_maps else overlay,
        op.EnterRoot(places.rootfs),
        *((op.BecomeRoot(*spec.id_maps.root),) if spec.id_maps else ()),
        *_kernel_filesystems(spec, host, held),
        *(op.BindInRoot(f"{places.runtime(container)}/{name}", f"/etc/{name}") for name in GENERATED),
        *user_mounts(tuple(mount for mount in spec.mounts if not _shared(mount))),
        *devices.nodes(spec, given),
        *user_mounts(tuple(mount for mount in spec.mounts if _shared(mount))),
    )


def _kernel_filesystems(spec: ContainerSpec, host: HostFacts, held: op.HoldPeerTree | None) -> tuple[op.AnyOperation, ...]:
    sys_flags = SAFE if spec.privileged else ("RDONLY", *SAFE)
    cgroup: tuple[op.AnyOperation, ...] = ()
    if host.cgroup_root and spec.id_maps and spec.cgroupns == "host":
        cgroup = (op.BindInRoot(host.cgroup_root, "/sys/fs/cgroup", readonly=True, flags=SAFE),)
    elif host.cgroup_root:
        cgroup = (op.MountInRoot("cgroup2", "/sys/fs/cgroup", sys_flags),)
    shm: tuple[op.AnyOperation, ...] = ()
    if spec.ipc == "host":
        shm = (op.BindInRoot("/dev/shm", "/dev/shm"),)
    elif held is not None:
        shm = (op.BindInRoot(held.source, "/dev/shm", propagation="rslave"),)
    elif spec.ipc != "none":
        shm = (op.MountInRoot("tmpfs", "/dev/shm", SAFE, f"mode=1777,size={spec.shm_bytes}"),)
    return (
        op.MountInRoot("proc", "/proc", SAFE),
        op.MountInRoot("tmpfs", "/dev", ("NOSUID", "STRICTATIME"), "mode=755,size=65536k"),
        *_nodes(spec),
        *(op.SymlinkInRoot(path, target) for path, target in DEVICE_LINKS),
        op.MountInRoot("devpts", "/dev/pts", ("NOSUID", "NOEXEC"), "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        op.MountInRoot("sysfs", "/sys", sys_flags),
        *cgroup,
        *_queues(spec),
        *shm,
    )


def _nodes(spec: ContainerSpec) -> tuple[op.AnyOperation, ...]:
    """In a user namespace mknod(2) is refused to everybody: the host's nodes are bound."""
    if spec.id_maps:
        return tuple(op.BindInRoot(f"/dev/{node.name}", f"/dev/{node.name}", recursive=False) for node in DEVICE_NODES)
    return tuple(op.MakeNodeInRoot(f"/dev/{node.name}", "c", node.major, node.minor) for node in DEVICE_NODES)


def _queues(spec: ContainerSpec) -> tuple[op.AnyOperation, ...]:
    """Mounted only by root of the user namespace that the IPC namespace belongs to; mq_open(3) needs no mount."""
    if spec.id_maps and spec.ipc == "host":
        return ()
    return (op.MountInRoot("mqueue", "/dev/mqueue", SAFE),)


def _propagates(mount: MountSpec) -> bool:
    return mount.kind == "bind" and "private" not in mount.propagation


def _shared(mount: MountSpec) -> bool:
    return mount.kind == "bind" and "shared" in mount.propagation


def user_mounts(mounts: tuple[MountSpec, ...]) -> tuple[op.AnyOperation, ...]:
    """What the user mounts, in order of depth, so that nothing hides what was asked for."""
    ordered = sorted(mounts, key=lambda mount: mount.target.rstrip("/").count("/"))
    return tuple(_tmpfs(mount) if mount.kind == "tmpfs" else _bind(mount) for mount in ordered)


def _bind(mount: MountSpec) -> op.BindInRoot:
    return op.BindInRoot(
        mount.source,
        mount.target,
        mount.readonly,
        mount.recursive,
        mount.propagation,
        readonly_recursive=mount.readonly_recursive,
    )


def _tmpfs(mount: MountSpec) -> op.MountInRoot:
    flags = ["NOSUID", "NODEV", "NOEXEC"]
    data = [f"mode={mount.mode:o}"] if mount.mode else []
    if mount.size_bytes:
        data.append(f"size={mount.size_bytes}")
    for option in mount.options:
        if option in _ALLOWING:
            flags = [flag for flag in flags if flag != _ALLOWING[option]]
        elif option in _FLAGS:
            flags.append(_FLAGS[option])
        elif option.startswith("mode="):
            data = [entry for entry in data if not entry.startswith("mode=")] + [option]
        elif option != "rw":
            data.append(option)
    if mount.readonly:
        flags.append("RDONLY")
    return op.MountInRoot("tmpfs", mount.target, tuple(dict.fromkeys(flags)), ",".join(data))


_ALLOWING = {"exec": "NOEXEC", "suid": "NOSUID", "dev": "NODEV"}
_FLAGS = {"ro": "RDONLY", "noexec": "NOEXEC", "nosuid": "NOSUID", "nodev": "NODEV", "noatime": "NOATIME"}


def seal(spec: ContainerSpec, host: HostFacts) -> tuple[op.AnyOperation, ...]:
    """What is closed once the pivot is done: masks, read-only paths, and the root itself when asked."""
    lifted = spec.privileged or parse_security_options(spec.security_options).unmasked
    masked = masked_paths(host.possible_cpus, asked=spec.masked_paths, lifted=lifted)
    readonly = readonly_paths(asked=spec.readonly_paths, lifted=lifted)
    root = (op.SetReadOnly("/"),) if spec.readonly_rootfs else ()
    return (
        *(op.SetReadOnly(path) for path in readonly),
        *(op.MaskPath(path) for path in masked),
        *root,
    )

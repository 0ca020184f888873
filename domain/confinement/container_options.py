"""Options of a container that must fit each other, whatever host it is: modes, mounts, names (moby, daemon/container.go).

Each check raises `Rejected` with Docker's sentence. A mode that is not understood is refused: taken for another one, it could
give a container the host's namespace.
"""

from __future__ import annotations

from collections.abc import Iterable

from docket.domain.confinement.device_rules import check_permissions, parse_rule
from docket.domain.confinement.proc_binds import BINDABLE_IN_PROC, inside_proc
from docket.domain.errors import InvalidArgument, Rejected, Unsupported
from docket.domain.model.container.spec import ContainerSpec, MountSpec

_CONTAINER = "container:"
_LONGEST_HOSTNAME = 64
"""__NEW_UTS_LEN, what sethostname(2) takes."""
_LARGEST_TEXT = 1 << 16
_KERNEL_DIRECTORIES = ("/dev", "/proc", "/sys")


def check_options(spec: ContainerSpec, environment: Iterable[str]) -> None:
    """Raises `Rejected` for the first option that is wrong."""
    _check_modes(spec)
    _check_user_namespace(spec)
    _check_names(spec, environment)
    _check_mounts(spec)
    for device in spec.devices:
        check_permissions(device.permissions)
    for rule in spec.device_rules:
        parse_rule(rule)
    if spec.shm_bytes < 0:
        raise _invalid("SHM size can not be less than 0")
    if spec.shm_bytes and spec.ipc.startswith(_CONTAINER) and spec.shm_bytes != ContainerSpec().shm_bytes:
        raise _invalid("conflicting options: shm size and the IPC mode")
    if not -1000 <= spec.oom_score_adj <= 1000:
        raise _invalid(f"Invalid value {spec.oom_score_adj}, range for oom score adj is [-1000, 1000]")


def _check_modes(spec: ContainerSpec) -> None:
    modes = (
        ("PID", spec.pid, ("", "host"), True),
        ("IPC", spec.ipc, ("none", "private", "shareable", "host"), True),
        ("UTS", spec.uts, ("", "host"), False),
        ("cgroup namespace", spec.cgroupns, ("private", "host"), False),
        ("user namespace", spec.userns, ("", "host"), False),
    )
    for name, mode, known, joins in modes:
        if mode not in known and not (joins and mode.startswith(_CONTAINER) and len(mode) > len(_CONTAINER)):
            raise _invalid(f"invalid {name} mode: {_shown(mode)}")
    if spec.network == _CONTAINER:
        raise _invalid('Invalid network mode: invalid container format "container:<name|id>"')
    if spec.network.startswith(_CONTAINER):
        for given, what in ((spec.hostname, "hostname"), (spec.dns, "dns"), (spec.extra_hosts, "custom host-to-IP mapping")):
            if given:
                raise _invalid(f"conflicting options: {what} and the network mode")
    if spec.uts == "host" and spec.hostname:
        raise _invalid("conflicting options: hostname and the UTS mode")


def _check_user_namespace(spec: ContainerSpec) -> None:
    """What a container cannot have together with a user namespace of its own; ``--userns=host`` is the way out."""
    if spec.id_maps is None:
        return
    if spec.privileged:
        raise _invalid(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running "
            "privileged mode"
        )
    if spec.network == "host":
        raise _invalid("cannot share the host's network namespace when user namespaces are enabled")
    if spec.pid == "host":
        raise _invalid("cannot share PID namespace when user namespaces are enabled")
    if len({mode for mode in (spec.network, spec.pid, spec.ipc) if mode.startswith(_CONTAINER)}) > 1:
        told = "cannot join namespaces of several containers when user namespaces are enabled: each has its own users"
        raise Rejected(Unsupported(f"{told}, --userns=host shares the host's"))
    for mount in spec.mounts:
        if mount.kind == "bind" and "shared" in mount.propagation:
            told = f"mount {mount.target}: propagation {mount.propagation} is not possible with a user namespace"
            raise Rejected(Unsupported(f"{told}: what the container mounts would appear on the host"))


def _check_names(spec: ContainerSpec, environment: Iterable[str]) -> None:
    for name, value in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if len(value.encode("utf-8", "surrogatepass")) > _LONGEST_HOSTNAME or not all(
            c.isprintable() and c != " " for c in value
        ):
            raise _invalid(f"invalid {name}: {_shown(value)}: at most {_LONGEST_HOSTNAME} bytes of printable text")
    for entry in environment:
        if not entry.partition("=")[0]:
            raise _invalid(f"invalid environment variable: {_shown(entry)}")
    for label, value in spec.labels.items():
        if len(label) + len(value) > _LARGEST_TEXT or not label:
            raise _invalid(f"invalid label {_shown(label)}: name and value have 1 to {_LARGEST_TEXT} characters")
    for entry in spec.extra_hosts:
        host, colon, address = entry.partition(":")
        if not host or not colon or not address or not entry.isprintable() or " " in entry:
            raise _invalid(f"invalid extra host: {_shown(entry)}: name:address is expected")
    for entry in (*spec.dns, *spec.dns_search, *spec.dns_options):
        if not entry or not entry.isprintable() or " " in entry:
            raise _invalid(f"invalid dns setting: {_shown(entry)}")


def _check_mounts(spec: ContainerSpec) -> None:
    for mount in spec.mounts:
        if _within(mount.target, "/proc") and mount.target not in BINDABLE_IN_PROC:
            raise _invalid(inside_proc(mount.target))
        if mount.kind == "bind" and "shared" in mount.propagation:
            _check_shared(mount, spec)


def _check_shared(mount: MountSpec, spec: ContainerSpec) -> None:
    """What the engine mounts on a shared mount would appear on the host, so nothing of it may lie there."""
    if any(_within(mount.target, top) for top in _KERNEL_DIRECTORIES):
        raise Rejected(Unsupported(f"mount {mount.target}: a shared mount in {' '.join(_KERNEL_DIRECTORIES)} is not possible"))
    others = [other.target for other in spec.mounts if other is not mount]
    closed = [*(spec.masked_paths or ()), *(spec.readonly_paths or ()), *(device.target for device in spec.devices)]
    for path in (*others, *closed):
        if _within(path, mount.target):
            told = (
                f"mount {mount.target}: with propagation {mount.propagation} nothing else can be mounted in it, such as {path}"
            )
            raise Rejected(Unsupported(f"{told}: it would appear on the host"))


def _within(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


def _shown(text: str) -> str:
    return ascii(text[:60])[1:-1]


def _invalid(text: str) -> Rejected:
    return Rejected(InvalidArgument(text))

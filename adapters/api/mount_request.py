"""``Binds``, ``Mounts`` and ``Tmpfs`` of a create request as `MountSpec`, with Docker's sentences for what is not valid."""

from __future__ import annotations

from docket.adapters.api.fields import Body, checked, flag, integer, mapping, objects, table, text, texts, wrong
from docket.domain.errors import Rejected, Unsupported
from docket.domain.model.container.spec import MountSpec

_PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_ACCESS = frozenset({"ro", "rw"})
_LABELS = frozenset({"z", "Z"})
_CONSISTENCY = frozenset({"cached", "delegated", "consistent", "default"})
_TMPFS_WORDS = frozenset(
    "async atime defaults dev diratime dirsync exec noatime nodev nodiratime noexec norelatime nostrictatime nosuid relatime ro rw "
    "strictatime suid sync".split()
)
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})


def mounts(host: Body) -> tuple[MountSpec, ...]:
    """Everything that is to be mounted. Raises `Rejected`."""
    binds = [_bind(raw) for raw in texts(host, "Binds")]
    long_form = [_mount(each) for each in objects(host, "Mounts")]
    tmpfs = [_tmpfs(path, options) for path, options in mapping(host, "Tmpfs").items()]
    found = (*binds, *long_form, *tmpfs)
    targets = [mount.target for mount in found]
    repeated = next((target for target in targets if targets.count(target) > 1), None)
    if repeated is not None:
        raise wrong(f"Duplicate mount point: {repeated}")
    return found


def _bind(raw: str) -> MountSpec:
    parts = raw.split(":")
    if not raw:
        raise wrong("invalid empty volume spec")
    if len(parts) not in (2, 3) or not all(parts[:2]):
        raise wrong(f"invalid volume specification: '{raw}'")
    source, target, *rest = parts
    if not source.startswith("/"):
        raise Rejected(Unsupported(f"named volume {source!r} is not supported yet: name a host directory"))
    options = rest[0].split(",") if rest else []
    if not _valid_mode(options):
        raise wrong(f"invalid mode: {rest[0]}")
    propagation = next((option for option in options if option in _PROPAGATIONS), "rprivate")
    try:
        target = _target(target, "bind")
    except Rejected as error:
        raise wrong(f"invalid volume specification: '{raw}': {error.rejection.message}") from None
    return MountSpec("bind", target, source, "ro" in options, propagation, create_source=True)


def _valid_mode(options: list[str]) -> bool:
    """Each option is known, and of each kind there is at most one."""
    kinds = (_ACCESS, _PROPAGATIONS, _LABELS, _CONSISTENCY)
    return all(any(option in kind for kind in kinds) for option in options) and all(
        sum(option in kind for option in options) <= 1 for kind in kinds
    )


def _target(target: str, kind: str) -> str:
    """The path in the container, without a trailing slash or empty parts."""
    if not target:
        raise _invalid(kind, "field Target must not be empty")
    if not target.startswith("/"):
        raise _invalid(kind, f"invalid mount path: '{target}' mount path must be absolute")
    parts: list[str] = []
    for part in target.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise _invalid(kind, "invalid specification: destination can't be '/'")
    return "/" + "/".join(parts)


def _invalid(kind: str, reason: str) -> Rejected:
    return wrong(f'invalid mount config for type "{kind}": {reason}')


def _mount(mount: Body) -> MountSpec:
    kind = text(mount, "Type")
    if kind not in ("bind", "tmpfs"):
        if kind == "volume":
            raise Rejected(Unsupported("mount type volume is not supported yet: only bind and tmpfs"))
        raise wrong(f'invalid mount config for type "{kind}": mount type unknown: "{kind}"')
    target, source, readonly = _target(text(mount, "Target"), kind), text(mount, "Source"), flag(mount, "ReadOnly")
    if kind == "bind":
        return _long_bind(table(mount, "BindOptions"), target, source, readonly)
    if source:
        raise _invalid(kind, "field Source must not be specified")
    if table(mount, "BindOptions"):
        raise _invalid(kind, "field BindOptions must not be specified")
    options = table(mount, "TmpfsOptions")
    size, mode = integer(options, "SizeBytes"), integer(options, "Mode")
    if size < 0 or not 0 <= mode <= 0o7777:
        raise _invalid(kind, "field TmpfsOptions is out of range")
    return MountSpec("tmpfs", target, "", readonly, size_bytes=size, mode=mode or 0o1777)


def _long_bind(options: Body, target: str, source: str, readonly: bool) -> MountSpec:
    if not source:
        raise _invalid("bind", "field Source must not be empty")
    if not source.startswith("/"):
        raise _invalid("bind", f"invalid mount path: '{source}' mount path must be absolute")
    propagation = text(options, "Propagation") or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise _invalid("bind", f"invalid propagation mode: {propagation}")
    below, forced = not flag(options, "ReadOnlyNonRecursive"), flag(options, "ReadOnlyForceRecursive")
    if (forced or not below) and not readonly:
        raise _invalid("bind", "mount must be set to readonly for its read-only options to apply")
    if forced and not below:
        raise _invalid("bind", "ReadOnlyNonRecursive and ReadOnlyForceRecursive cannot be set at the same time")
    if forced and propagation != "rprivate":
        raise _invalid("bind", f"ReadOnlyForceRecursive requires propagation rprivate, not {propagation}")
    return MountSpec(
        "bind",
        target,
        source,
        readonly,
        propagation,
        not flag(options, "NonRecursive"),
        flag(options, "CreateMountpoint"),
        readonly_recursive=below,
    )


def _tmpfs(path: str, raw: str) -> MountSpec:
    target = _target(path, "tmpfs")
    options = tuple(option for option in checked("Tmpfs", raw).split(",") if option)
    for option in options:
        name, equals, value = option.partition("=")
        if not (name in _TMPFS_VALUES and value) if equals else option not in _TMPFS_WORDS:
            raise wrong(f'invalid tmpfs option "{option}"')
    return MountSpec("tmpfs", target, options=options)

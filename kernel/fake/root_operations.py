"""Operations on the root filesystem: mounts, nodes, links, masks, the terminal's devpts."""

from __future__ import annotations

from docket.domain.confinement.proc_binds import BINDABLE_IN_PROC, inside_proc
from docket.domain.plan import operations as op
from docket.kernel.fake.checks import require, require_directory
from docket.kernel.fake.filesystem import Directory, File, Link, MergedDirectory, Node
from docket.kernel.fake.linux_errno import EACCES, EEXIST, EINVAL, ENOENT, ENOTDIR, EPERM, CallFailed
from docket.kernel.fake.model import Model
from docket.kernel.fake.mounts import Location, Mount, path_of, writable
from docket.kernel.fake.processes import Process
from docket.kernel.fake.task import Task

_KERNEL_FILESYSTEMS = frozenset({"proc", "sysfs", "devpts", "mqueue", "cgroup2"})


def mount(model: Model, operation: op.Mount | op.MountOverlay, process: Process) -> None:
    mounts = process.mounts
    if isinstance(operation, op.MountOverlay):
        root = _overlay(operation, process)
        target = mounts.resolve(process.root, operation.target, syscall="mount")
        require_directory(target, operation.target, "mount")
        mounts.mount(Mount("overlay", "overlay", root, target, propagation=_inherited(target)))
        return
    target = mounts.resolve(process.root, operation.target, syscall="mount")
    if not operation.fstype and "BIND" not in operation.flags:
        kind = next((name.lower() for name in ("PRIVATE", "SLAVE", "SHARED") if name in operation.flags), "")
        require(bool(kind), "mount", EINVAL, operation.target)
        for mount in [target[-1].mount, *(mounts.submounts(target) if "REC" in operation.flags else ())]:
            mount.propagation = kind
    elif "BIND" in operation.flags:
        source = mounts.resolve(process.root, operation.source, syscall="mount")
        recursive = "REC" in operation.flags
        mounts.bind(source, target, readonly=False, recursive=recursive, propagation=_inherited(target))
    else:
        made = model.filesystem(operation.fstype, operation.data, process)
        readonly, flags = "RDONLY" in operation.flags, frozenset(operation.flags)
        mounts.mount(Mount(operation.fstype, operation.source, made, target, readonly, flags, _inherited(target)))


def mount_in_root(model: Model, operation: op.MountInRoot, task: Task) -> None:
    mounts = task.new.mounts
    links = operation.fstype not in _KERNEL_FILESYSTEMS and links_allowed(operation.target)
    target = mounts.make(task.root, operation.target, lambda: Directory(0o755), links=links)
    try:
        made = model.filesystem(operation.fstype, operation.data, task.new)
    except CallFailed as failure:
        raise CallFailed("mount", failure.errno, operation.target) from failure
    require_directory(target, operation.target, "mount")
    if operation.fstype not in _KERNEL_FILESYSTEMS:
        _refuse_procfs(target, operation.target)
    flags = frozenset(operation.flags) - {"RDONLY"}
    readonly = "RDONLY" in operation.flags
    mounts.mount(Mount(operation.fstype, operation.fstype, made, target, readonly, flags, _inherited(target)))


def mask(path: str, task: Task) -> None:
    mounts = task.new.mounts
    target = _present(task, path)
    if target is None:
        return
    if isinstance(target[-1].inode, Directory):
        mounts.mount(Mount("tmpfs", "tmpfs", Directory(0o755), target, True, propagation=_inherited(target)))
        return
    null = mounts.resolve(task.root, "/dev/null", links=False)
    inode = null[-1].inode
    genuine = isinstance(inode, Node) and (inode.kind, inode.major, inode.minor) == ("c", 1, 3)
    require(genuine, "fstat", EINVAL, "/dev/null")
    mounts.bind(null, target, readonly=False, recursive=False, propagation=_inherited(target))


def _inherited(target: Location) -> str:
    """A mount below a shared one is shared too (mount_namespaces(7)); others are private."""
    return "shared" if target[-1].mount.propagation == "shared" else "private"


def links_allowed(path: str) -> bool:
    """Below the kernel's own filesystems no path may pass a link (S4, S5)."""
    return not any(path == top or path.startswith(f"{top}/") for top in ("/dev", "/proc", "/sys"))


def _overlay(operation: op.MountOverlay, process: Process, syscall: str = "stat") -> MergedDirectory:
    layers = []
    upper = [operation.upperdir] if operation.upperdir else []
    for path in (*operation.lowerdirs, *upper, *([operation.workdir] if upper else ())):
        location = process.mounts.resolve(process.root, path, syscall=syscall)
        inode = location[-1].inode
        if not isinstance(inode, Directory):
            raise CallFailed(syscall, ENOTDIR, path)
        layers.append(inode)
    lower = layers[: len(operation.lowerdirs)]
    require(bool(lower), "mount", EINVAL, operation.target)
    return MergedDirectory([layers[-2], *lower], True) if upper else MergedDirectory(lower, False)


def hold_tree(operation: op.HoldTree, task: Task) -> None:
    holder = task.process or task.shim
    source = holder.mounts.resolve(holder.root, operation.source, syscall="open_tree")
    kind = operation.propagation.removeprefix("r")
    mount = source[-1].mount
    if kind != "private" and mount.propagation != "shared" and (kind == "shared" or mount.propagation != "slave"):
        wanted = "a shared" if kind == "shared" else "a shared or slave"
        told = f"path {operation.source} is mounted on {path_of(mount.location)} but it is not {wanted} mount"
        raise CallFailed(told, EINVAL)
    task.trees[operation.source, operation.recursive, operation.propagation] = source


def hold_overlay(operation: op.HoldOverlay, task: Task) -> None:
    """Ownership is not shifted on disk, and the model's files have the ids of the container: maps change nothing there."""
    own = op.MountOverlay(operation.lowerdirs, operation.upperdir, operation.workdir, "")
    task.overlay = _overlay(own, task.shim, "open_tree")


def attach_overlay(operation: op.AttachOverlay, task: Task) -> None:
    target = task.new.mounts.resolve(task.new.root, operation.target)
    require_directory(target, operation.target, "move_mount")
    assert task.overlay is not None
    task.new.mounts.mount(Mount("overlay", "overlay", task.overlay, target, propagation=_inherited(target)))


def _refuse_procfs(target: Location, path: str) -> None:
    require(path in BINDABLE_IN_PROC or target[-1].mount.fstype != "proc", inside_proc(path), EPERM)


def bind_in_root(operation: op.BindInRoot, task: Task) -> None:
    mounts = task.new.mounts
    source = task.trees.get((operation.source, operation.recursive, operation.propagation), ())
    if not source:
        source = mounts.resolve(task.new.root, operation.source, syscall="open_tree")
    directory = isinstance(source[-1].inode, Directory)
    target = mounts.make(
        task.root,
        operation.target,
        lambda: Directory(0o755) if directory else File(0o644),
        links=links_allowed(operation.target),
    )
    _refuse_procfs(target, operation.target)
    propagation = operation.propagation.removeprefix("r")
    exposed = propagation == "shared" and target[-1].mount.propagation == "shared"
    require(not exposed, "move_mount", EPERM, operation.target)
    require(isinstance(target[-1].inode, Directory) == directory, "move_mount", ENOTDIR, operation.target)
    readonly = operation.readonly or "RDONLY" in operation.flags
    mounts.bind(source, target, readonly=readonly, recursive=operation.recursive, propagation=propagation)
    mounts.mounts[-1].flags |= frozenset(operation.flags)


def make_entry(task: Task, path: str, inode: Node | Link, syscall: str) -> None:
    parent, _, name = path.rpartition("/")
    mounts = task.new.mounts
    holder = mounts.make(task.root, parent or "/", lambda: Directory(0o755), links=links_allowed(path))
    mounts.insert(holder, name, inode, syscall, path)


def open_terminal(operation: op.OpenTerminal, task: Task) -> None:
    mounts = task.new.mounts
    master = mounts.resolve(task.root, "/dev/pts/ptmx", links=False)
    require(master[-1].mount.fstype == "devpts", "fstatfs", EINVAL, "/dev/pts/ptmx")
    terminals = master[-2].inode
    assert isinstance(terminals, Directory)
    number = len(terminals.names()) - 1
    slave = Node(0o620, kind="c", major=136, minor=number)
    terminals.insert(str(number), slave)
    task.streams.rows, task.streams.columns = operation.rows, operation.columns
    if operation.console:
        holder = mounts.resolve(task.root, "/dev", links=False)
        directory = writable(holder, "open", "console")
        require(directory.lookup("console") is None, "open", EEXIST, "console")
        mounts.insert(holder, "console", File(0o666), "open", "console")
        console = mounts.resolve(task.root, "/dev/console", links=False)
        source = (*master[:-1], master[-1]._replace(inode=slave, name=str(number)))
        mounts.bind(source, console, readonly=False, recursive=False, propagation=_inherited(console))


def write_sysctl(operation: op.WriteSysctl, task: Task) -> None:
    path = "/proc/sys/" + operation.name.replace(".", "/")
    location = task.new.mounts.resolve(task.root, path, links=False)
    place = location[-1]
    require(place.mount.fstype == "proc", "fstatfs", EINVAL, path)
    writable(location[:-1], "openat2", path)
    require(isinstance(place.inode, File) and place.inode.write is not None, "openat2", EACCES, path)
    assert isinstance(place.inode, File)
    assert place.inode.write is not None
    place.inode.write(task.new, operation.value.encode("utf-8", "surrogateescape"))


def _present(task: Task, path: str) -> Location | None:
    """Where a path to mask or protect is; None when it is missing."""
    try:
        return task.new.mounts.resolve(task.root, path, links=False)
    except CallFailed as failure:
        if failure.errno in (ENOENT, ENOTDIR):
            return None
        raise


def set_read_only(path: str, task: Task) -> None:
    target = _present(task, path)
    if target is None:
        return
    if path == "/":
        target[-1].mount.readonly = True
        return
    task.new.mounts.bind(target, target, readonly=True, recursive=True, propagation=_inherited(target))

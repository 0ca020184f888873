"""The one place of the fake kernel that knows what each type of operation does to the model.

Failures are `CallFailed` with the system call, the error number and the path that the real kernel answers with. What an
operation is for, and its undo, are the plan's business.
"""

from __future__ import annotations

from docket.domain.plan import operations as op
from docket.kernel.fake import process_operations, root_operations
from docket.kernel.fake.checks import require, require_directory
from docket.kernel.fake.filesystem import Directory, File, Link, Node
from docket.kernel.fake.linux_errno import EAGAIN, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, ESRCH, CallFailed
from docket.kernel.fake.model import Model
from docket.kernel.fake.mounts import writable
from docket.kernel.fake.processes import Process
from docket.kernel.fake.task import Task

SYSCALLS = {
    "MakeDirectory": "mkdir", "RemoveDirectory": "rmdir", "WriteFile": "open", "Unlink": "unlink", "CreateCgroup": "mkdir",
    "StartScope": "connect",
    "HoldOverlay": "mount", "AttachOverlay": "move_mount", "BecomeRoot": "setresuid", "SetAppArmorProfile": "write",
    "RemoveCgroup": "rmdir", "WriteCgroup": "write", "JoinNamespaces": "setns",
    "JoinUsers": "setns", "Clone": "clone3", "WriteIdMaps": "write",
    "SetDumpable": "prctl", "Setsid": "setsid", "Unshare": "unshare", "Mount": "mount", "MountOverlay": "mount",
    "AttachDeviceFilter": "BPF_PROG_ATTACH", "HoldTree": "open_tree", "HoldPeerTree": "open_tree",
    "EnterRoot": "openat2", "MountInRoot": "mount", "BindInRoot": "move_mount", "MakeNodeInRoot": "mknodat",
    "SymlinkInRoot": "symlinkat", "MakeDirectoryInRoot": "mkdirat", "OpenTerminal": "ioctl", "ResolveUser": "openat2",
    "SetLinkUp": "ioctl", "Sethostname": "sethostname", "Setdomainname": "setdomainname", "WriteSysctl": "write",
    "PivotRoot": "pivot_root", "MaskPath": "mount", "SetReadOnly": "mount_setattr", "Setrlimit": "setrlimit",
    "SetOomScoreAdj": "write", "SetNoNewPrivileges": "prctl", "LoadSeccomp": "seccomp", "DropBounding": "prctl",
    "SetUser": "setresuid", "Capset": "capset", "SetParentDeathSignal": "prctl", "Umask": "umask", "Chdir": "chdir",
    "Execve": "execve",
}  # fmt: skip
"""The system call that does most of an operation's work: what an injected failure is reported of."""


class Interpreter:
    """Performs operations on a model. ``made`` are the host's files and directories that plans made and did not take back."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.made: dict[str, str] = {}

    def perform(self, operation: op.Operation, task: Task) -> bool:
        """Perform one operation; False when there was nothing to do, and so nothing to undo. Raises `CallFailed`."""
        match operation:
            case op.MakeDirectory():
                return self._make_directory(task.shim, operation)
            case op.RemoveDirectory() | op.Unlink():
                self._remove(task.shim, operation.path, directory=isinstance(operation, op.RemoveDirectory))
            case op.WriteFile():
                self._write_file(task.shim, operation)
            case op.StartScope():
                self._model.cgroups.start_scope(operation.path, task.shim.pid)
                task.shim.cgroup = f"{operation.path}/shim"
            case op.CreateCgroup():
                self._model.cgroups.create(operation.path, operation.controllers).made_as_parent = False
            case op.RemoveCgroup():
                self._remove_cgroup(operation.path)
            case op.WriteCgroup():
                self._model.write_cgroup(operation.path, operation.file, operation.value)
            case op.AttachDeviceFilter():
                self._model.cgroups.find(operation.path).device_program = operation.program
            case op.JoinNamespaces():
                self._join(operation, task)
            case op.JoinUsers():
                self._join_users(operation, task)
            case op.Clone():
                self._clone(operation, task)
            case op.WriteIdMaps():
                self._write_id_maps(operation, task.new)
            case op.Mount() | op.MountOverlay():
                root_operations.mount(self._model, operation, task.new)
            case op.HoldTree():
                root_operations.hold_tree(operation, task)
            case op.HoldOverlay():
                root_operations.hold_overlay(operation, task)
            case op.AttachOverlay():
                root_operations.attach_overlay(operation, task)
            case op.HoldPeerTree():
                self._hold_peer_tree(operation, task)
            case op.EnterRoot():
                task.root = task.new.mounts.resolve(task.new.root, operation.path)[-1:]
                require_directory(task.root, operation.path)
            case op.MountInRoot():
                root_operations.mount_in_root(self._model, operation, task)
            case op.BindInRoot():
                root_operations.bind_in_root(operation, task)
            case op.MakeNodeInRoot():
                own = task.new.namespaces["user"] is not self._model.init.namespaces["user"]
                require(not own, "mknodat", EPERM, operation.path)
                node = Node(operation.mode, kind=operation.kind, major=operation.major, minor=operation.minor)
                root_operations.make_entry(task, operation.path, node, "mknodat")
            case op.SymlinkInRoot():
                root_operations.make_entry(task, operation.path, Link(0o777, target=operation.target), "symlinkat")
            case op.MakeDirectoryInRoot():
                links = root_operations.links_allowed(operation.path)
                made = task.new.mounts.make(task.root, operation.path, lambda: Directory(operation.mode), links=links)
                require_directory(made, operation.path, "mkdirat")
            case op.OpenTerminal():
                root_operations.open_terminal(operation, task)
            case op.ResolveUser():
                process_operations.resolve_user_in_root(operation, task)
            case op.WriteSysctl():
                root_operations.write_sysctl(operation, task)
            case op.PivotRoot():
                task.root = task.new.root = task.new.cwd = task.new.mounts.pivot(task.root)
            case op.MaskPath():
                root_operations.mask(operation.path, task)
            case op.SetReadOnly():
                root_operations.set_read_only(operation.path, task)
            case op.Chdir():
                self._model.change_directory(task.new, operation.path)
            case op.Execve():
                args = operation.args or task.arguments
                self._model.executable(task.new, args[0], task.environ())
                task.new.execute(args, task.environ())
                task.new.below_init = bool(operation.init)
            case _:
                process_operations.set_attribute(self._model, operation, task)
        return True

    # The host's side.

    def _make_directory(self, shim: Process, operation: op.MakeDirectory) -> bool:
        parent, _, name = operation.path.rstrip("/").rpartition("/")
        if operation.parents and parent:
            self._make_directory(shim, op.MakeDirectory(parent, operation.mode, lasting=True, parents=True))
        holder = shim.mounts.resolve(shim.root, parent or "/", syscall="mkdir")
        require_directory(holder, operation.path, "mkdir")
        if writable(holder, "mkdir", operation.path).lookup(name) is not None:
            return False
        shim.mounts.insert(holder, name, Directory(operation.mode), "mkdir", operation.path)
        self.made[operation.path] = "directory"
        return True

    def _write_file(self, shim: Process, operation: op.WriteFile) -> None:
        parent, _, name = operation.path.rpartition("/")
        holder = shim.mounts.resolve(shim.root, parent or "/", syscall="open")
        directory = writable(holder, "open", operation.path)
        existing = directory.lookup(name)
        require(not isinstance(existing, Link), "open", ELOOP, operation.path)
        require(not isinstance(existing, Directory), "open", EISDIR, operation.path)
        directory.replace(name, File(operation.mode, operation.content.encode("utf-8", "surrogateescape")))
        self.made[operation.path] = "file"

    def _remove(self, shim: Process, path: str, *, directory: bool) -> None:
        syscall = "rmdir" if directory else "unlink"
        parent, _, name = path.rstrip("/").rpartition("/")
        try:
            inode = shim.mounts.resolve(shim.root, path, follow=False, syscall=syscall)[-1].inode
        except CallFailed as failure:
            if failure.errno != ENOENT:
                raise
            self.made.pop(path, None)
            return
        require(isinstance(inode, Directory) == directory, syscall, ENOTDIR if directory else EISDIR, path)
        require(not (isinstance(inode, Directory) and inode.names()), syscall, ENOTEMPTY, path)
        writable(shim.mounts.resolve(shim.root, parent or "/", syscall=syscall), syscall, path).remove(name)
        self.made.pop(path, None)

    def _remove_cgroup(self, path: str) -> None:
        if not self._model.cgroups.exists(path):
            return
        self._model.write_cgroup(path, "cgroup.kill", "1")
        for group in list(self._model.cgroups.find(path).subtree()):
            self._model.cgroups.rmdir(group.path)

    def _join(self, operation: op.JoinNamespaces, task: Task) -> None:
        target = self._model.processes.find(operation.pid)
        require(target.start_time == operation.start_time, "pidfd_open", ESRCH, str(operation.pid))
        for kind in operation.namespaces:
            require(kind in target.namespaces, "setns", EINVAL, kind)
            if task.process is None:
                task.into[kind] = target.namespaces[kind]
                continue
            task.process.namespaces[kind] = target.namespaces[kind]
            if kind == "mount":
                task.process.root = task.process.cwd = task.process.mounts.root()

    def _join_users(self, operation: op.JoinUsers, task: Task) -> None:
        target = self._model.processes.find(operation.pid)
        require(target.start_time == operation.start_time, "pidfd_open", ESRCH, str(operation.pid))
        task.into["user"] = target.namespaces["user"]

    def _hold_peer_tree(self, operation: op.HoldPeerTree, task: Task) -> None:
        peer = self._model.processes.find(operation.pid)
        require(peer.start_time == operation.start_time, "pidfd_open", ESRCH, str(operation.pid))
        task.trees[operation.source, True, "rslave"] = peer.mounts.resolve(peer.root, operation.path, links=False)

    def _clone(self, operation: op.Clone, task: Task) -> None:
        model = self._model
        if operation.cgroup:
            limit = model.cgroups.find(operation.cgroup).files.get("pids.max", "max")
            current = int(model.cgroups.read(operation.cgroup, "pids.current")) if limit != "max" else 0
            require(limit == "max" or current < int(limit), "clone3", EAGAIN)
        process = model.processes.fork(task.shim, operation.namespaces, model.clock.now_ns(), into=task.into)
        task.process = process
        if operation.cgroup:
            try:
                model.cgroups.join(operation.cgroup, process.pid)
            except CallFailed as failure:
                raise CallFailed("clone3", failure.errno) from failure
            process.cgroup = operation.cgroup

    def _write_id_maps(self, operation: op.WriteIdMaps, process: Process) -> None:
        own = process.namespaces["user"] is not self._model.init.namespaces["user"]
        require(own and not process.namespaces["user"].id_maps, "write", EPERM, f"/proc/{process.pid}/uid_map")
        process.namespaces["user"].id_maps = (operation.uids, operation.gids)

"""The modelled machine: a host filesystem, a cgroup hierarchy, processes, and the programs that run in them.

It outlives the engine: what an engine that crashed left here, the next one finds here. Programs run as trio system tasks, so a
machine belongs to one run of trio, and trio's mock clock moves its time.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from docket.domain.confinement.masks import DEVICE_NODES
from docket.domain.ports import Clock
from docket.kernel.fake import kernel_filesystems
from docket.kernel.fake.cgroups import Cgroups
from docket.kernel.fake.filesystem import EXECUTABLE, Directory, File, Node, directory_at, read, seed, write
from docket.kernel.fake.linux_errno import EACCES, EINVAL, EISDIR, ENOENT, ENOEXEC, ENOTDIR, EPERM, ESRCH, CallFailed
from docket.kernel.fake.mounts import Mount, MountNamespace, path_of
from docket.kernel.fake.processes import NAMESPACES, Process, Processes
from docket.kernel.fake.programs import PROGRAMS, SYSTEM_FILES, Program, Running, System
from docket.kernel.fake.shell import sh
from docket.kernel.fake.streams import Streams

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_DIRECTORIES = (
    "/var/lib/docket/containers",
    "/var/lib/docket/layers",
    "/var/lib/docket/trash",
    "/run/docket/containers",
    "/run/docket/shims",
    "/run/docket/rootfs",
    "/tmp",
    "/etc",
    "/sys/fs/cgroup",
)


class Model:
    """The state of the machine, and what happens in it whoever asks."""

    def __init__(self, clock: Clock, hostname: str, cgroups: Cgroups, programs: Mapping[str, Program]) -> None:
        self.apparmor: tuple[str, ...] = ()
        """Profiles that are loaded; without any there is no AppArmor."""
        self.clock = clock
        self.hostname = hostname
        self.cgroups = cgroups
        self.programs: dict[str, Program] = {**PROGRAMS, "sh": sh, **programs}
        self.files = Directory(0o755)
        for path in HOST_DIRECTORIES:
            directory_at(self.files, path)
        nodes = {f"/dev/{each.name}": Node(0o666, kind="c", major=each.major, minor=each.minor) for each in DEVICE_NODES}
        seed(self.files, nodes)
        seed(self.files, {"/etc/passwd": b"root:x:0:0::/root:/bin/sh\n", "/etc/hostname": hostname.encode()})
        for path in ("/dev/shm", "/dev/mqueue"):
            directory_at(self.files, path)
        self.observers: list[Observer] = []
        self.boot()
        self.system = System(
            read=self.read_file,
            write=self.write_file,
            names=self.list_directory,
            make_directory=self.make_directory,
            change_directory=self.change_directory,
            working_directory=lambda process: path_of(process.cwd),
            accounts=self._accounts,
            spawn=self._spawn,
            kill=self._kill,
            executable=self.executable,
        )

    def boot(self) -> None:
        """Start over with the host's first process and nothing else; files stay."""
        self.processes = Processes(self._frozen, self._ended)
        self.host_mounts = MountNamespace([Mount("ext4", "/dev/vda1", self.files, propagation="shared")])
        namespaces = {kind: self.processes.namespace(kind) for kind in NAMESPACES}
        namespaces["uts"].hostname = self.hostname
        namespaces["mount"].mounts = self.host_mounts
        namespaces["net"].links["lo"] = True
        root = self.host_mounts.root()
        self.init = Process(1, 1, 0, 1, namespaces, root, root, args=("init",))
        self.init.going.set()
        namespaces["pid"].init = 1
        self.processes.table[1] = self.init

    # Processes.

    def run(self, process: Process, streams: Streams) -> None:
        """Begin to run the program that a process has executed."""
        program = self.program(process.args[0])
        assert program is not None
        running = Running(process, streams, self.system, list(process.args), self.program)
        trio.lowlevel.spawn_system_task(self._live, running, program, name=f"process {process.pid}: {process.args[0]}")

    async def _live(self, running: Running, program: Program) -> None:
        status = None
        with running.process.scope:
            await running.going()
            status = await program(running)
            await running.going()
        if status is not None:
            self.processes.end(running.process, status & 0xFF)

    def program(self, path: str) -> Program | None:
        """The scripted program that a path names."""
        return self.programs.get(path.rpartition("/")[2])

    def _spawn(self, parent: Running, words: list[str]) -> Running:
        """A child of a shell, in the background, with the shell's streams."""
        process = self.processes.fork(parent.process, (), self.clock.now_ns(), into={})
        if process.cgroup:
            self.cgroups.join(process.cgroup, process.pid)
        process.execute(tuple(words), dict(parent.process.environment))
        running = Running(process, parent.streams, self.system, words, self.program)

        async def program(child: Running) -> int:
            script = " ".join(f"'{word}'" for word in words)
            child.args = ["sh", "-c", script]
            return await sh(child)

        trio.lowlevel.spawn_system_task(self._live, running, program, name=f"process {process.pid}: {words[0]}")
        return running

    def _frozen(self, cgroup: str) -> bool:
        return bool(cgroup) and self.cgroups.exists(cgroup) and self.cgroups.find(cgroup).frozen

    def _ended(self, process: Process) -> None:
        self.cgroups.leave(process.pid)
        for observer in self.observers:
            observer.process_ended(process)

    def _kill(self, sender: Process, inner_pid: int, signal: int) -> None:
        """kill(2) from inside: pids are those of the sender's namespace, whose first process ignores what it has no handler for."""
        for process in self.processes.living():
            if process.namespaces["pid"] is sender.namespaces["pid"] and process.inner_pid == inner_pid:
                if sender.uid not in (0, process.uid):
                    raise CallFailed("kill", EPERM, str(inner_pid))
                if process.namespaces["pid"].init != process.pid or signal in process.handlers:
                    self.processes.signal(process.pid, signal)
                return
        raise CallFailed("kill", ESRCH, str(inner_pid))

    def write_cgroup(self, path: str, file: str, value: str) -> None:
        """Write an interface file, and let processes feel it."""
        group = self.cgroups.write(path, file, value)
        members = {pid for below in group.subtree() for pid in below.members}
        if file == "cgroup.kill":
            for pid in members:
                self.processes.end(self.processes.table[pid], 128 + 9)
        elif file == "cgroup.freeze":
            for pid in members:
                self.processes.update(self.processes.table[pid])
        elif file == "cgroup.procs":
            process = self.processes.table.get(int(value)) if value.strip().isdigit() else None
            if process is None:
                raise CallFailed("write", ESRCH if value.strip().isdigit() else EINVAL, f"{path}/{file}")
            self.cgroups.join(path, process.pid)
            process.cgroup = path
            self.processes.update(process)

    # Files, as a process sees them.

    def read_file(self, process: Process, path: str) -> bytes:
        """The content of a file. Raises `CallFailed`."""
        location = process.mounts.resolve(process.root, path, cwd=process.cwd, syscall="open")
        return read(location[-1].inode, process, path)

    def write_file(self, process: Process, path: str, content: bytes) -> None:
        """Replace or make a file. Raises `CallFailed`."""
        try:
            location = process.mounts.resolve(process.root, path, cwd=process.cwd, syscall="open")
        except CallFailed as failure:
            if failure.errno != ENOENT:
                raise
            self._make(process, path, File(0o666 & ~process.umask, content, uid=process.uid, gid=process.gid), "open")
            return
        inode = location[-1].inode
        if isinstance(inode, File | Directory) and location[-1].mount.readonly:
            raise CallFailed("open", EISDIR if isinstance(inode, Directory) else 30, path)
        self._may(process, inode, 0o2, path)
        if location[-1].mount.root is inode:
            holder = Directory(0o755, entries={location[-1].name: inode})
        else:
            found = location[-2].inode
            assert isinstance(found, Directory)
            holder = found
        write(holder, location[-1].name, inode, process, content)

    def make_directory(self, process: Process, path: str) -> None:
        """mkdir(2). Raises `CallFailed`."""
        self._make(process, path, Directory(0o777 & ~process.umask, uid=process.uid, gid=process.gid), "mkdir")

    def _make(self, process: Process, path: str, inode: File | Directory, syscall: str) -> None:
        parent, slash, name = path.rstrip("/").rpartition("/")
        top = parent or ("/" if slash else ".")
        holder = process.mounts.resolve(process.root, top, cwd=process.cwd, syscall=syscall)
        self._may(process, holder[-1].inode, 0o2, path)
        process.mounts.insert(holder, name, inode, syscall, path)

    @staticmethod
    def _may(process: Process, inode: object, wanted: int, path: str) -> None:
        """Permission bits, which CAP_DAC_OVERRIDE overrides."""
        if process.capabilities.effective >> 1 & 1 or not isinstance(inode, File | Directory):
            return
        shift = 6 if process.uid == inode.uid else 3 if inode.gid in (process.gid, *process.groups) else 0
        if not inode.mode >> shift & wanted:
            raise CallFailed("open", EACCES, path)

    def list_directory(self, process: Process, path: str) -> list[str]:
        """The names in a directory. Raises `CallFailed`."""
        inode = process.mounts.resolve(process.root, path, cwd=process.cwd, syscall="open")[-1].inode
        if not isinstance(inode, Directory):
            raise CallFailed("getdents64", ENOTDIR, path)
        return inode.names()

    def change_directory(self, process: Process, path: str) -> None:
        """chdir(2). Raises `CallFailed`."""
        location = process.mounts.resolve(process.root, path, cwd=process.cwd, syscall="chdir")
        if not isinstance(location[-1].inode, Directory):
            raise CallFailed("chdir", ENOTDIR, path)
        process.cwd = location

    def executable(self, process: Process, name: str, environment: Mapping[str, str]) -> None:
        """Whether execve(2) of a name, searched in PATH as execvpe does, would succeed. Raises `CallFailed` if not."""
        directories = environment.get("PATH", DEFAULT_PATH).split(":")
        candidates = [name] if "/" in name else [f"{directory or '.'}/{name}" for directory in directories]
        failure = ENOENT
        for candidate in candidates:
            try:
                location = process.mounts.resolve(process.root, candidate, cwd=process.cwd, syscall="execve")
            except CallFailed as missing:
                if missing.errno not in (ENOENT, ENOTDIR):
                    raise CallFailed("execve", missing.errno, name) from missing
                continue
            errno = self._execution_error(process, location[-1].inode, location[-1].mount, name)
            if not errno:
                return
            if errno != EISDIR or "/" in name:
                failure = errno
        raise CallFailed("execve", failure, name)

    def _execution_error(self, process: Process, inode: object, mount: Mount, name: str) -> int:
        if isinstance(inode, Directory):
            return EISDIR
        if not isinstance(inode, File) or not inode.mode & EXECUTABLE or "NOEXEC" in mount.flags:
            return EACCES
        shift = 6 if process.uid == inode.uid else 3 if inode.gid in (process.gid, *process.groups) else 0
        if process.uid != 0 and not inode.mode >> shift & 0o1:
            return EACCES
        return 0 if self.program(name) is not None else ENOEXEC

    def _accounts(self, process: Process) -> dict[int, str]:
        try:
            lines = self.read_file(process, "/etc/passwd").decode(errors="replace").splitlines()
        except CallFailed:
            return {}
        entries = [line.split(":") for line in lines]
        return {int(entry[2]): entry[0] for entry in entries if len(entry) > 2 and entry[2].isdigit()}

    def filesystem(self, fstype: str, data: str, process: Process) -> Directory:
        """A new filesystem of the kernel's own. Raises `CallFailed`."""
        return kernel_filesystems.make(fstype, data, process, self.processes)


class Observer:
    """Is told of the end of every process."""

    def process_ended(self, process: Process) -> None:
        """Called once, when a process has ended."""
        raise NotImplementedError


def make_layer(root: Directory, path: str, *, system: bool) -> None:
    """A layer directory on the host, with the files of a small system or empty."""
    layer = directory_at(root, path)
    if system:
        seed(layer, SYSTEM_FILES)
        for name in ("dev", "proc", "sys", "tmp", "root"):
            directory_at(layer, name)

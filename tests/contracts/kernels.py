"""Benches for the contract of the kernel port: a kernel, the host that it works on, and small plans for it.

A `Bench` is the same for every kernel, so that a contract is written once. The fixture ``bench`` gives the fake one everywhere and
the real one to root on Linux, where a layer is a directory with busybox in it.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
import trio

from docket.domain.output_log import HEADER_BYTES, decode_header
from docket.domain.plan import operations as op
from docket.domain.plan.operations import AnyOperation, Plan
from docket.domain.ports import (
    Attachment,
    Endpoint,
    Exit,
    Kernel,
    Launch,
    Launched,
    LaunchFailed,
    LogSettings,
    ProcessIdentity,
)
from docket.kernel.fake.filesystem import File
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.programs import SYSTEM_FILES
from docket.kernel.fake.streams import FakeEndpoint

BASIC = 0x00A80425FB
"""The mask of Docker's default capabilities."""
PATH = ("PATH=/bin",)
NAMESPACES = ("mount", "uts", "ipc", "pid", "net")


class Client(Protocol):
    """The client's end of a connection, and the end that is handed over."""

    @property
    def endpoint(self) -> Endpoint: ...

    def send(self, data: bytes) -> None: ...

    def send_eof(self) -> None: ...

    async def receive_some(self) -> bytes: ...

    async def receive_all(self) -> bytes: ...

    def disconnected(self) -> bool:
        """Whether the other side has closed the connection, as of now."""
        ...


class Ground(Protocol):
    """The host below a kernel."""

    kernel: Kernel
    root: str
    """A directory that exists, for the engine's data root."""

    def layer(self) -> str:
        """A new layer directory with a small system; returns its path."""
        ...

    def make_directory(self, path: str) -> None: ...

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None: ...

    def read(self, path: str) -> bytes: ...

    def exists(self, path: str) -> bool: ...

    def client(self) -> Client: ...

    def logged(self, path: str) -> list[tuple[int, bytes]]:
        """A log's records: stream and data."""
        ...

    def strays(self) -> list[str]:
        """Mounts in the host's namespace that were not there at first."""
        ...


class FakeClient:
    """A `FakeEndpoint`, from the client's side."""

    def __init__(self) -> None:
        self.endpoint = FakeEndpoint()
        self.send = self.endpoint.send
        self.send_eof = self.endpoint.send_eof
        self.receive_some = self.endpoint.receive_some
        self.receive_all = self.endpoint.receive_all

    def disconnected(self) -> bool:
        return self.endpoint.closed


class FakeGround:
    """The host of a fake kernel."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.root = "/var/lib/docket"
        self._layers = 0

    def layer(self) -> str:
        self._layers += 1
        return self.kernel.make_layer(f"/var/lib/docket/layers/{self._layers}")

    def make_directory(self, path: str) -> None:
        self.kernel.make_layer(path, system=False)

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.kernel.seed_host({path: File(mode, content)})

    def read(self, path: str) -> bytes:
        if path.startswith(self.kernel.host().cgroup_root):
            return self.kernel.model.cgroups.read(*path.rsplit("/", 1)).encode()
        return self.kernel.read_file(path)

    def exists(self, path: str) -> bool:
        if path.startswith(self.kernel.host().cgroup_root):
            return self.kernel.model.cgroups.exists(path)
        return self.kernel.exists(path)

    def client(self) -> Client:
        return FakeClient()

    def logged(self, path: str) -> list[tuple[int, bytes]]:
        entries = self.kernel.logs.entries(path)
        return [(entry.stream, entry.data) for entry in entries]

    def strays(self) -> list[str]:
        return self.kernel.model.host_mounts.strays


class SocketClient:
    """A client on a socket pair."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.endpoint: Endpoint = theirs
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._socket = ours

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def receive_some(self) -> bytes:
        return bytes(await self._stream.receive_some(65_536))

    async def receive_all(self) -> bytes:
        chunks = []
        while chunk := await self.receive_some():
            chunks.append(chunk)
        return b"".join(chunks)

    def disconnected(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False


class LinuxGround:
    """The real host, below a temporary directory."""

    def __init__(self, kernel: Kernel, directory: Path) -> None:
        self.kernel = kernel
        self.root = str(directory)
        self._layers = 0
        self._mounts = self._mountinfo()

    def layer(self) -> str:
        self._layers += 1
        layer = Path(self.root, "layers", str(self._layers))
        for name in ("bin", "dev", "proc", "sys", "tmp", "root", "etc"):
            (layer / name).mkdir(parents=True)
        busybox = shutil.which("busybox")
        if busybox is None:
            pytest.skip("needs a static busybox: install it")
        shutil.copy(busybox, layer / "bin/busybox")
        for path, content in SYSTEM_FILES.items():
            if path.startswith("/bin/") and path != "/bin/busybox":
                (layer / path[1:]).symlink_to("busybox")
            elif not path.startswith("/bin/"):
                (layer / path[1:]).write_bytes(content)
        return str(layer)

    def make_directory(self, path: str) -> None:
        Path(path).mkdir(parents=True)

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        Path(path).write_bytes(content)
        Path(path).chmod(mode)

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def client(self) -> Client:
        return SocketClient()

    def logged(self, path: str) -> list[tuple[int, bytes]]:
        data, records = Path(path).read_bytes(), []
        while data:
            _, stream, length = decode_header(data[:HEADER_BYTES])
            records.append((stream, data[HEADER_BYTES : HEADER_BYTES + length]))
            data = data[HEADER_BYTES + length :]
        return records

    def strays(self) -> list[str]:
        return sorted(self._mountinfo() - self._mounts)

    @staticmethod
    def _mountinfo() -> set[str]:
        return set(Path("/proc/self/mounts").read_text().splitlines())


class Outcome(msgspec.Struct):
    """How a process ended, and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes


class Running(msgspec.Struct):
    """A process under way, with the client that was attached when it started."""

    key: str
    launch: Launch
    launched: Launched
    client: Client
    seen: bytearray = msgspec.field(default_factory=bytearray)
    """What `Bench.lines` has received."""

    @property
    def identity(self) -> ProcessIdentity:
        """Which process it is."""
        return self.launched.identity


class Bench:
    """Builds plans and runs them."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.kernel = ground.kernel
        self.layer = ground.layer()
        for name in ("containers", "shims", "rootfs"):
            if not ground.exists(f"{ground.root}/{name}"):
                ground.make_directory(f"{ground.root}/{name}")
        self._running: list[Running] = []

    def directory(self, key: str) -> str:
        """A container's own directory."""
        return f"{self.ground.root}/containers/{key}"

    def plan(
        self,
        *args: str,
        key: str = "box",
        prepare: tuple[AnyOperation, ...] = (),
        mounts: tuple[AnyOperation, ...] = (),
        sealed: tuple[AnyOperation, ...] = (),
        confined: tuple[AnyOperation, ...] = (),
        late: tuple[AnyOperation, ...] = (),
        lowerdirs: tuple[str, ...] | None = None,
        namespaces: tuple[str, ...] = NAMESPACES,
        user: str = "",
        cgroup: str = "",
        capabilities: int = BASIC,
    ) -> Plan:
        """A small container.

        ``mounts`` come before the pivot, ``sealed`` behind it, ``confined`` before capabilities are dropped and ``late`` after.
        """
        here, target = self.directory(key), f"{self.ground.root}/rootfs"
        safe = ("NOSUID", "NOEXEC", "NODEV")
        return Plan(
            prepare=(
                op.MakeDirectory(here, lasting=True),
                op.MakeDirectory(f"{here}/upper", 0o755, lasting=True),
                op.MakeDirectory(f"{here}/work", 0o700, lasting=True),
                *prepare,
            ),
            process=op.Clone(namespaces, cgroup),
            settle=(),
            inside=(
                op.Setsid(),
                op.Sethostname("box"),
                op.Mount("", "/", "", ("REC", "SLAVE")),
                op.MountOverlay(lowerdirs or (self.layer,), f"{here}/upper", f"{here}/work", target),
                op.EnterRoot(target),
                op.MountInRoot("proc", "/proc", safe),
                op.MountInRoot("tmpfs", "/dev", ("NOSUID", "STRICTATIME"), "mode=755,size=65536k"),
                op.MakeNodeInRoot("/dev/null", "c", 1, 3),
                op.MountInRoot("devpts", "/dev/pts", ("NOSUID", "NOEXEC"), "newinstance,ptmxmode=0666,mode=0620,gid=5"),
                *mounts,
                op.ResolveUser(user),
                op.PivotRoot(),
                *sealed,
                op.Umask(),
                *confined,
                op.DropBounding(capabilities),
                op.SetUser(),
                op.Capset(capabilities, capabilities),
                op.SetParentDeathSignal(),
                op.Chdir("/"),
                *late,
                op.Execve(args),
            ),
        )

    def exec_plan(self, identity: ProcessIdentity, *args: str, cgroup: str = "") -> Plan:
        """One more process in a running container."""
        return Plan(
            prepare=(op.JoinNamespaces(identity.pid, identity.start_time, ("pid",)),),
            process=op.Clone((), cgroup),
            settle=(),
            inside=(
                op.Setsid(),
                op.SetDumpable(0),
                op.JoinNamespaces(identity.pid, identity.start_time, ("ipc", "uts", "net", "mount")),
                op.EnterRoot("/"),
                op.ResolveUser(""),
                op.Umask(),
                op.DropBounding(BASIC),
                op.SetUser(),
                op.Capset(BASIC, BASIC),
                op.SetParentDeathSignal(),
                op.Chdir("/"),
                op.Execve(args),
            ),
        )

    async def start(self, plan: Plan, key: str = "box", *, stdin: bool = False, terminal: bool = False) -> Running:
        """Launch a plan with one client attached to everything. Raises `LaunchFailed`."""
        client = self.ground.client()
        attachment = Attachment(client.endpoint, stdin=stdin, multiplexed=not terminal)
        launch = Launch(
            key=key,
            plan=plan,
            directory=f"{self.ground.root}/shims/{key}",
            exit_file=f"{self.ground.root}/{key}.exit",
            environment=PATH,
            terminal=terminal,
            stdin=stdin,
            stdin_once=stdin,
            log=LogSettings(f"{self.ground.root}/{key}.log"),
            attachments=(attachment,),
            cgroup=plan.process.cgroup,
        )
        running = Running(key, launch, await self.kernel.launch(launch), client)
        self._running.append(running)
        return running

    async def finish(self, running: Running) -> Outcome:
        """Wait for the end, release, and give what was written."""
        end = await self.kernel.exited(running.key)
        await self.release(running.launch)
        running.seen += await running.client.receive_all()
        if running.launch.terminal:
            return Outcome(end.code, bytes(running.seen), b"")
        return Outcome(end.code, *demultiplexed(bytes(running.seen)))

    async def release(self, launch: Launch) -> None:
        """The end is known: take back what the plan prepared."""
        await self.kernel.release(launch.key, launch.directory, launch.exit_file, launch.plan.release())

    async def run(self, *args: str, **options: object) -> Outcome:
        """Run a command in a small container to its end; ``options`` are those of `plan`."""
        return await self.finish(await self.start(self.plan(*args, **options)))  # type: ignore[arg-type]

    async def fails(self, plan: Plan, key: str = "box") -> LaunchFailed:
        """Launch a plan that fails."""
        with pytest.raises(LaunchFailed) as caught:
            await self.start(plan, key)
        return caught.value

    async def kill(self, running: Running, signal: int = 9) -> Exit:
        """Kill a process and release it."""
        await self.kernel.signal(running.key, running.identity, signal)
        end = await self.kernel.exited(running.key)
        await self.release(running.launch)
        return end

    async def close(self) -> None:
        """End what a failed test left running."""
        for running in self._running:
            if await self.kernel.signal(running.key, running.identity, 9):
                await self.kernel.exited(running.key)
                await self.release(running.launch)

    def cgroup(self, name: str, *controllers: str) -> str:
        """The path of a cgroup for tests; skips where the host has no cgroup2, or one without these controllers."""
        root = self.kernel.host().cgroup_root
        if not root:
            pytest.skip("needs a cgroup2 mount")
        missing = set(controllers).difference(self.kernel.host().controllers)
        if missing:
            pytest.skip(f"needs the cgroup controllers {' '.join(sorted(missing))} at {root}: run it in the machine of vm/run")
        return f"{root}/docket-contract/{name}"

    async def lines(self, running: Running, count: int = 1) -> bytes:
        """Standard output as it comes, until there are so many lines of it."""
        while demultiplexed(bytes(running.seen))[0].count(b"\n") < count:
            piece = await running.client.receive_some()
            assert piece, "the stream ended before the output was complete"
            running.seen += piece
        return demultiplexed(bytes(running.seen))[0]


def demultiplexed(data: bytes) -> tuple[bytes, bytes]:
    """``(stdout, stderr)`` of Docker's multiplexed stream; an incomplete frame at the end is left out."""
    parts = {1: b"", 2: b""}
    while len(data) >= 8:
        length = int.from_bytes(data[4:8], "big")
        if len(data) < 8 + length:
            break
        parts[data[0]] += data[8 : 8 + length]
        data = data[8 + length :]
    return parts[1], parts[2]


@pytest.fixture(params=["fake", pytest.param("linux", marks=pytest.mark.root)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench on each kernel in turn."""
    if request.param == "fake":
        made = Bench(FakeGround(FakeKernel()))
        yield made
        await made.close()
        return
    from docket.kernel.linux.kernel import LinuxKernel

    async with LinuxKernel.open() as kernel:
        made = Bench(LinuxGround(kernel, tmp_path))
        yield made
        await made.close()

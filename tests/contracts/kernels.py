"""Benches for the contract of the kernel port: a kernel, the host that it works on, and small plans for it.

The fixture ``bench`` gives the fake one everywhere and
the real one to root on Linux, where a layer is a directory with busybox in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from contract_grounds import Client, FakeGround, Ground, LinuxGround

from docket.domain.plan import operations as op
from docket.domain.plan.operations import AnyOperation, Plan
from docket.domain.ports import (
    Attachment,
    Exit,
    Launch,
    Launched,
    LaunchFailed,
    LogSettings,
    ProcessIdentity,
)
from docket.kernel.fake.kernel import FakeKernel

BASIC = 0x00A80425FB
"""The mask of Docker's default capabilities."""
PATH = ("PATH=/bin",)
NAMESPACES = ("mount", "uts", "ipc", "pid", "net")


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
        init: str = "",
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
                op.Execve(args, init),
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

    async def start(
        self, plan: Plan, key: str = "box", *, stdin: bool = False, terminal: bool = False, beside: str = ""
    ) -> Running:
        """Launch a plan with one client attached to everything. Raises `LaunchFailed` and `Unavailable`."""
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
            beside=beside,
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

    async def fails(self, plan: Plan, key: str = "box", *, beside: str = "") -> LaunchFailed:
        """Launch a plan that fails."""
        with pytest.raises(LaunchFailed) as caught:
            await self.start(plan, key, beside=beside)
        return caught.value

    async def start_exec(self, beside: Running, *args: str, key: str = "exec", stdin: bool = False) -> Running:
        """Run one more process in a running container, kept by its shim."""
        return await self.start(self.exec_plan(beside.identity, *args), key, stdin=stdin, beside=beside.key)

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

    def cgroup(self, name: str) -> str:
        """The path of a cgroup for tests; skips where the host has no cgroup2."""
        root = self.kernel.host().cgroup_root
        if not root:
            pytest.skip("needs a cgroup2 mount")
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

"""What users do: the scenarios of the crash matrix and the errno matrix, the same on the fake and on the real kernel.

A scenario has a ``setup`` that is not crashed, and a ``body`` that is: an engine starts (and so recovers) and does its work. Names
are the users' own, so that a body finds what the setup made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import msgspec
import trio

from docket.domain.compaction import Compact
from docket.domain.confinement.id_maps import IdMapping, IdMaps
from docket.domain.engine import Engine
from docket.domain.errors import PortError, Rejected, StoreError
from docket.domain.jobs.archives import Load, Save
from docket.domain.jobs.commit import Commit
from docket.domain.jobs.create import Create
from docket.domain.jobs.exec_ import CreateRequest
from docket.domain.jobs.images import Import
from docket.domain.jobs.pull import Pull
from docket.domain.jobs.push import Push
from docket.domain.jobs.remove import Remove
from docket.domain.jobs.stop import Stop
from docket.domain.model.container.events import ContainerDrifted
from docket.domain.model.container.spec import ContainerSpec, MountSpec, Resources, Ulimit
from docket.domain.model.container.state import ContainerStatus
from docket.domain.model.engine.events import EngineCreated, EngineRepaired
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.model.exec.events import ExecSpec
from docket.domain.model.image.commands import LearnDigest, PruneImages
from docket.domain.ports import Attachment, Endpoint

PULLED = "registry.example/app:1"
IMAGE = "docker.io/library/tiny:latest"
_SLEEP = ("sleep", "1000")


class Bench(Protocol):
    """What a scenario needs of the world that it runs in."""

    def endpoint(self) -> Endpoint:
        """One end of a client's connection."""
        ...

    def archive(self) -> Any:
        """An asynchronous iterator of the bytes of an image archive."""
        ...

    def resources(self) -> Resources:
        """Limits that this host can set."""
        ...

    def shared_directory(self) -> str:
        """A host directory on a shared mount."""
        ...

    def run_out_of_memory(self, pid: int) -> None:
        """Have the kernel kill a process for memory; where it cannot be made to, just kill it."""
        ...

    def fail(self, call: str) -> None:
        """Let the next such call of the kernel or of the root filesystems fail with EIO."""
        ...


Step = Callable[[Engine, Bench], Awaitable[None]]


class Scenario(msgspec.Struct, frozen=True):
    name: str
    setup: Step
    body: Step


async def ask(engine: Engine, name: str, *arguments: str, request: Any = None, **more: Any) -> Any:
    """Run a job as a client would; a refusal is an answer like any other, and is returned."""
    job = engine.job(name, arguments, "test", request)
    for field, value in more.items():
        setattr(job, field, value)
    try:
        return await engine.run(job)
    except (Rejected, PortError, StoreError) as error:
        return error


async def import_image(engine: Engine, bench: Bench, name: str = IMAGE) -> Any:
    """Import the bench's image; returns its id, or the error."""
    return await ask(engine, "import", "-", name, request=Import(bench.archive(), name))


async def create(engine: Engine, name: str, command: tuple[str, ...] = _SLEEP, **spec: Any) -> Any:
    """Create a container; returns its id, or the error."""
    request = Create(ContainerSpec(image=IMAGE, **spec), name, command=command)
    return await ask(engine, "create", IMAGE, name, request=request)


async def start(engine: Engine, name: str) -> Any:
    return await ask(engine, "start", name)


async def execute(engine: Engine, name: str, *arguments: str, bench: Bench | None = None, **spec: Any) -> Any:
    """Create and start an exec; returns its id, or the error."""
    created = await ask(engine, "exec_create", name, request=CreateRequest(ExecSpec("", **spec), arguments))
    if isinstance(created, Exception):
        return created
    attachments = () if bench is None else (Attachment(bench.endpoint(), multiplexed=False),)
    await ask(engine, "exec_start", created, attachments=attachments)
    return created


async def attach_once(engine: Engine, bench: Bench, name: str) -> Any:
    return await ask(engine, "attach", name, attachments=(Attachment(bench.endpoint(), stdin=True),))


async def settled(engine: Engine, name: str = "") -> None:
    """Wait until a container, or every one, is not running and nothing of it is under way."""

    def busy() -> bool:
        found = [each for each in engine.state.containers.values() if not name or each.name == name]
        return any(each.alive or each.unsettled for each in found)

    while busy():
        await engine.changed()


async def _image(engine: Engine, bench: Bench) -> None:
    await import_image(engine, bench)


async def _created(engine: Engine, bench: Bench) -> None:
    await import_image(engine, bench)
    await create(engine, "web")


async def _running(engine: Engine, bench: Bench) -> None:
    await _created(engine, bench)
    await start(engine, "web")


async def _paused(engine: Engine, bench: Bench) -> None:
    await _running(engine, bench)
    await ask(engine, "pause", "web")


async def _exited(engine: Engine, bench: Bench) -> None:
    await import_image(engine, bench)
    await create(engine, "web", ("true",))
    await start(engine, "web")
    await settled(engine, "web")


async def _two_running(engine: Engine, bench: Bench) -> None:
    await _running(engine, bench)
    await create(engine, "db")
    await start(engine, "db")
    await execute(engine, "db", "sleep", "1000")


async def create_(engine: Engine, bench: Bench) -> None:
    await create(engine, "web")
    await create(engine, "", ("true",))
    await create(engine, "web")


async def start_(engine: Engine, bench: Bench) -> None:
    await start(engine, "web")


async def run_to_its_end(engine: Engine, bench: Bench) -> None:
    await start(engine, "web")
    await settled(engine, "web")
    await start(engine, "web")
    await ask(engine, "wait", "web", request="not-running")


async def every_option(engine: Engine, bench: Bench) -> None:
    """A start whose plan has every kind of operation."""
    await create(
        engine,
        "all",
        ("true",),
        terminal=True,
        stdin=True,
        domainname="example",
        working_directory="/new/directory",
        ulimits=(Ulimit("nofile", 512, 1024),),
        sysctls={"kernel.msgmax": "8192"},
        oom_score_adj=500,
        readonly_rootfs=True,
        mounts=(MountSpec("tmpfs", "/scratch", size_bytes=1 << 20),),
        security_options=("no-new-privileges",),
        resources=bench.resources(),
    )
    await start(engine, "all")
    await settled(engine, "all")


async def start_that_fails(engine: Engine, bench: Bench) -> None:
    await create(engine, "bad", ("no-such-program",))
    await start(engine, "bad")
    await create(engine, "gone", ("no-such-program",), auto_remove=True)
    await start(engine, "gone")


async def stop(engine: Engine, bench: Bench) -> None:
    await ask(engine, "stop", "web", request=Stop(timeout_seconds=0))


async def kill(engine: Engine, bench: Bench) -> None:
    await ask(engine, "kill", "web", "10", request=10)
    await ask(engine, "kill", "web", "9", request=9)
    await settled(engine, "web")
    await ask(engine, "kill", "web", "9", request=9)


async def update(engine: Engine, bench: Bench) -> None:
    """Other limits while it runs, a refused one, and others for the next start."""
    await ask(engine, "update", "web", request=bench.resources())
    await ask(engine, "update", "web", request=Resources(cpuset_cpus="nonsense"))
    await ask(engine, "stop", "web", request=Stop(timeout_seconds=0))
    await ask(engine, "update", "web", request=bench.resources())
    await start(engine, "web")


async def restart(engine: Engine, bench: Bench) -> None:
    await ask(engine, "restart", "web", request=Stop(timeout_seconds=0))


async def remove_forced(engine: Engine, bench: Bench) -> None:
    await ask(engine, "remove", "web", request=Remove(force=True))


async def remove(engine: Engine, bench: Bench) -> None:
    await ask(engine, "remove", "web", request=Remove())


async def exec_(engine: Engine, bench: Bench) -> None:
    await execute(engine, "web", "echo", "hello", bench=bench)
    await execute(engine, "web", "no-such-program")
    lasting = await execute(engine, "web", "sleep", "1000")
    await ask(engine, "kill", "web", "9", request=9)
    await settled(engine, "web")
    while not isinstance(lasting, Exception) and engine.state.execs[lasting].exit_code is None:
        await engine.changed()


async def attach(engine: Engine, bench: Bench) -> None:
    await ask(engine, "attach", "web", attachments=(Attachment(bench.endpoint()),))
    await create(engine, "waiting", ("echo", "hello"))
    await ask(engine, "attach", "waiting", attachments=(Attachment(bench.endpoint()),))
    await start(engine, "waiting")
    await settled(engine, "waiting")


async def pause(engine: Engine, bench: Bench) -> None:
    await ask(engine, "pause", "web")
    await ask(engine, "unpause", "web")


async def unpause_and_stop(engine: Engine, bench: Bench) -> None:
    await ask(engine, "unpause", "web")
    await ask(engine, "stop", "web", request=Stop(timeout_seconds=0))


async def rename(engine: Engine, bench: Bench) -> None:
    await ask(engine, "rename", "web", "shop")
    await ask(engine, "rename", "shop", "web")


async def auto_remove(engine: Engine, bench: Bench) -> None:
    await create(engine, "once", ("true",), auto_remove=True)
    await start(engine, "once")
    while any(each.name == "once" for each in engine.state.containers.values()):
        await engine.changed()


async def import_(engine: Engine, bench: Bench) -> None:
    await import_image(engine, bench)
    await ask(engine, "tag", IMAGE, "docker.io/library/other:1")
    digest = engine.state.images[engine.state.references[IMAGE]].manifest
    job = engine.job("push", (IMAGE,), "engine")
    await engine.execute(LearnDigest(IMAGE, f"docker.io/library/web@{digest}"), job)


async def commit(engine: Engine, bench: Bench) -> None:
    """Of a container that runs, frozen and not; of one that is removed meanwhile."""
    await ask(engine, "commit", "web", request=Commit("docker.io/library/made:1", "first"))
    await ask(engine, "commit", "web", request=Commit("", "second", pause=False))
    await ask(engine, "commit", "web", request=Commit("docker.io/library/made:1", "third"))


async def commit_and_remove(engine: Engine, bench: Bench) -> None:
    """The layer stays until it is an image; a commit that cannot be made leaves the container as it was."""
    bench.fail("commit")
    await ask(engine, "commit", "web", request=Commit("docker.io/library/made:1", "first"))
    bench.fail("freeze")
    await ask(engine, "commit", "web", request=Commit("docker.io/library/made:1", "second"))
    await ask(engine, "kill", "web", "9", request=9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ask(engine, "commit", "web", request=Commit("", "third")))
        nursery.start_soon(lambda: ask(engine, "remove", "web", request=Remove(force=True)))


async def remove_image(engine: Engine, bench: Bench) -> None:
    await ask(engine, "tag", IMAGE, "docker.io/library/other:1")
    await ask(engine, "rmi", IMAGE, request=False)
    await ask(engine, "rmi", "docker.io/library/other:1", request=False)


async def pull_(engine: Engine, bench: Bench) -> None:
    """An image from a registry, the same once more, all its tags, and one that is not there."""
    await ask(engine, "pull", PULLED, request=Pull(PULLED))
    await ask(engine, "pull", PULLED, request=Pull(PULLED))
    await ask(engine, "pull", f"{PULLED}0", request=Pull(f"{PULLED}0"))
    await ask(engine, "pull", "registry.example/app", request=Pull("registry.example/app"))
    await ask(engine, "rmi", PULLED, request=True)


async def push(engine: Engine, bench: Bench) -> None:
    """An image that was pulled, under another name; the registry refuses one of them, and one is not there."""
    await ask(engine, "pull", PULLED, request=Pull(PULLED))
    for name in ("registry.example/app:2", "registry.example/app:refused"):
        await ask(engine, "tag", PULLED, name)
        await ask(engine, "push", name, request=Push(name))
    await ask(engine, "push", "registry.example/app:3", request=Push("registry.example/app:3"))


async def archives(engine: Engine, bench: Bench) -> None:
    """An image goes into an archive, and one comes out; then all that nobody uses goes."""

    archive: list[bytes] = []

    async def send(piece: bytes) -> None:
        archive.append(piece)
        await trio.lowlevel.checkpoint()

    async def again() -> AsyncIterator[bytes]:
        for piece in archive:
            yield piece

    await ask(engine, "save", IMAGE, request=Save(send))
    await ask(engine, "load", request=Load(again()))
    await ask(engine, "rmi", IMAGE, request=False)
    await ask(engine, "prune", "images", request=PruneImages(tuple(engine.state.images), tagged=True))


async def engine_restart(engine: Engine, bench: Bench) -> None:
    """Nothing is asked: the engine starts where two containers and an exec run."""


async def first_start(engine: Engine, bench: Bench) -> None:
    """What the daemon does before it serves, and a reload of its settings."""
    await engine.record([EngineCreated("0" * 32)], engine.job("recover", (), "engine"))
    await ask(engine, "reload", request=EngineSettings(labels=("a=b",)))


async def checks(engine: Engine, bench: Bench) -> None:
    """What the engine appends by itself when it looks around: a container lost its cgroup, and a repair was done."""
    job = engine.job("drift", (), "engine")
    container = next(iter(engine.state.containers.values()))
    await engine.record([ContainerDrifted(container.id, container.run, "cgroup", "it is in another cgroup")], job)
    await engine.record([EngineRepaired("container", "f" * 64, "nobody owns it", "remove the shim")], job)


async def shared_binds(engine: Engine, bench: Bench) -> None:
    """A container that lends its IPC namespace, and one that borrows it and shares a bind with the host."""
    await create(engine, "lender", ipc="shareable")
    await start(engine, "lender")
    mounts = (MountSpec("bind", "/shared", bench.shared_directory(), propagation="rshared"),)
    await create(engine, "borrower", ("true",), ipc="container:lender", mounts=mounts)
    await start(engine, "borrower")
    await settled(engine, "borrower")


async def user_namespace(engine: Engine, bench: Bench) -> None:
    """A container whose users are others on the host, and an exec in it; its cgroup lies elsewhere where there is one."""
    maps = (IdMapping(0, 231_072, 65_536),)
    engine.settings = msgspec.structs.replace(engine.settings, id_maps=IdMaps(maps, maps))
    mounts = (MountSpec("bind", "/shared", bench.shared_directory(), readonly=True),)
    await create(engine, "mapped", mounts=mounts, ulimits=(Ulimit("nofile", 512, 1024),), oom_score_adj=500)
    await start(engine, "mapped")
    await execute(engine, "mapped", "true")
    await create(engine, "borrower", ("true",), network="container:mapped", pid="container:mapped")
    await start(engine, "borrower")
    await settled(engine, "borrower")
    await ask(engine, "stop", "mapped", request=Stop(timeout_seconds=0))


async def scope(engine: Engine, bench: Bench) -> None:
    """A container whose cgroup systemd makes, where there is one, twice in a row; another one is left for the next engine."""
    engine.settings = msgspec.structs.replace(engine.settings, cgroup_driver="systemd")
    await create(engine, "scoped", resources=bench.resources())
    await start(engine, "scoped")
    await ask(engine, "restart", "scoped", request=Stop(timeout_seconds=0))
    await create(engine, "short", ("true",), cgroup_parent="a-b.slice")
    await start(engine, "short")
    await settled(engine, "short")


async def concurrent(engine: Engine, bench: Bench) -> None:
    async def run(name: str) -> None:
        await create(engine, name, ("true",))
        await start(engine, name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "one")
        nursery.start_soon(run, "two")
        nursery.start_soon(stop, engine, bench)
        nursery.start_soon(import_image, engine, bench)
    await settled(engine)


async def out_of_memory(engine: Engine, bench: Bench) -> None:
    container = engine.container("web")
    if container.alive:
        bench.run_out_of_memory(container.pid)
    await settled(engine, "web")


async def compaction(engine: Engine, bench: Bench) -> None:
    """Sealed by hand, then again with no room for archives: the first is dropped, and so is the second."""
    await ask(engine, "compact", request=Compact(keep=4))
    await start(engine, "web")
    await settled(engine, "web")
    engine.settings = msgspec.structs.replace(engine.settings, log_retention_bytes=0)
    await ask(engine, "compact", request=Compact(keep=1))


async def failures(engine: Engine, bench: Bench) -> None:
    """Calls that the kernel refuses: every outcome that is a failure."""
    for call, name in (("freeze", "pause"), ("signal", "kill"), ("signal", "stop")):
        bench.fail(call)
        await ask(engine, name, "web", request=Stop(timeout_seconds=0) if name == "stop" else 15)
    bench.fail("configure")
    await ask(engine, "update", "web", request=bench.resources())
    await ask(engine, "pause", "web")
    bench.fail("thaw")
    await ask(engine, "unpause", "web")
    await ask(engine, "unpause", "web")
    await ask(engine, "kill", "web", "9", request=9)
    await settled(engine, "web")
    bench.fail("rootfs.remove")
    await ask(engine, "remove", "web", request=Remove())


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("create", _image, create_),
    Scenario("start", _created, start_),
    Scenario("run to its end", _exited, run_to_its_end),
    Scenario("every option", _image, every_option),
    Scenario("start that fails", _image, start_that_fails),
    Scenario("stop", _running, stop),
    Scenario("kill", _running, kill),
    Scenario("update", _running, update),
    Scenario("restart", _running, restart),
    Scenario("remove", _exited, remove),
    Scenario("remove forced", _running, remove_forced),
    Scenario("exec", _running, exec_),
    Scenario("attach", _running, attach),
    Scenario("pause", _running, pause),
    Scenario("unpause and stop", _paused, unpause_and_stop),
    Scenario("rename", _created, rename),
    Scenario("auto-remove", _image, auto_remove),
    Scenario("import", lambda engine, bench: trio.lowlevel.checkpoint(), import_),
    Scenario("commit", _running, commit),
    Scenario("commit and remove", _running, commit_and_remove),
    Scenario("remove image", _image, remove_image),
    Scenario("pull", lambda engine, bench: trio.lowlevel.checkpoint(), pull_),
    Scenario("push", lambda engine, bench: trio.lowlevel.checkpoint(), push),
    Scenario("archives", _image, archives),
    Scenario("engine restart", _two_running, engine_restart),
    Scenario("first start", lambda engine, bench: trio.lowlevel.checkpoint(), first_start),
    Scenario("shared binds", _image, shared_binds),
    Scenario("user namespace", _image, user_namespace),
    Scenario("scope of systemd", _image, scope),
    Scenario("checks", _running, checks),
    Scenario("concurrent jobs", _running, concurrent),
    Scenario("out of memory", _running, out_of_memory),
    Scenario("failures", _running, failures),
    Scenario("compaction", _exited, compaction),
)


async def clean_up(engine: Engine) -> None:
    """Remove every container, as a user would; what is dead is removed again. Raises AssertionError for what stays."""
    for container in list(engine.state.containers.values()):
        if container.status is ContainerStatus.PAUSED:
            await ask(engine, "unpause", container.id)
        answer = await ask(engine, "remove", container.id, request=Remove(force=True))
        assert container.id not in engine.state.containers, f"{container.name} cannot be removed: {answer}"

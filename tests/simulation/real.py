"""The crash matrix on the real kernel: the same scenarios, each life a process of its own that is killed at its point.

The runner forks an engine composed as the daemon composes it, with ports that pass points (`ports`) and a launcher that does
(`real_launcher`). A point that is reached in the engine is its SIGKILL; one in a shim or a new process is the runner's.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import tarfile
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import trio
from tests.oracle import Oracle, kill_leftovers
from tests.simulation import invariants
from tests.simulation.life import Life, Point
from tests.simulation.page import ENGINE_AND_SHIM, NONE, SIZE, Page
from tests.simulation.ports import MortalImages, MortalKernel, MortalRootfs, MortalStore
from tests.simulation.registry import SimulatedRegistry
from tests.simulation.scenarios import Scenario, clean_up

from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.port import ImageImports
from docket.adapters.images.rootfs import OverlayRootfs
from docket.adapters.logs.reader import FileOutputLogs
from docket.cli.bootstrap import RandomIds, SystemClock, make_directories
from docket.domain.engine import Engine, Ports
from docket.domain.jobs import JOBS
from docket.domain.model.container.spec import Resources
from docket.domain.model.state import EVENT_TYPES, fold
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.recovery import recover
from docket.domain.snapshots import beginning
from docket.domain.sweeping import sweep_later
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore
from docket.kernel.fake.programs import SYSTEM_FILES
from docket.kernel.linux import kernel as linux_kernel
from docket.kernel.linux import launching
from docket.kernel.linux.kernel import LinuxKernel
from docket.kernel.recording.kernel import RecordingKernel

ROOT = Path(__file__).resolve().parents[2]
_LIFE_SECONDS = 60
_PROGRAM = (
    "import sys; sys.path[:0] = [sys.argv[1], {root!r}]; from tests.simulation.real_launcher import main; "
    "main(int(sys.argv[2]), {fd})"
)

Body = Callable[[Engine, "RealBench"], Awaitable[None]]


class PageLife(Life):
    """A life whose points are counted on the page; the engine is killed at the chosen one."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def passes(self, when: str, what: str) -> bool:
        self._page.in_engine(when, what)
        return False


class RealBench:
    """What scenarios need, on the real host."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failing: set[str] = set()
        self._others: list[trio.socket.SocketType] = []

    def endpoint(self) -> object:
        """One end of a socket pair; the other is kept open, as a client would."""
        import socket

        ours, theirs = socket.socketpair()
        self._others.append(trio.socket.from_stdlib_socket(ours))
        return theirs

    async def archive(self) -> AsyncIterator[bytes]:
        yield (self.root / "image.tar").read_bytes()

    def resources(self) -> Resources:
        return Resources()

    def shared_directory(self) -> str:
        return str(self.root / "shared")

    def run_out_of_memory(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)  # without a memory controller nothing else can be had

    def fail(self, call: str) -> None:
        self.failing.add(call)


class Case(msgspec.Struct, frozen=True):
    """One crash on the real kernel."""

    scenario: Scenario
    at: int
    point: Point

    def __str__(self) -> str:
        return f"{self.scenario.name}: crash at point {self.at} ({self.point})"


class RealWorld:
    """One data root, and the lives of engines on it. Give it back with `close`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fd = os.memfd_create("docket-crash-points")
        os.ftruncate(self._fd, SIZE)
        self.page = Page(self._fd)
        self.places = Places(f"{root}/data", f"{root}/exec")
        (root / "shared").mkdir(parents=True)
        (root / "image.tar").write_bytes(_image())
        self.oracle = Oracle(root)

    def close(self) -> None:
        """End what runs, and remove the data root."""
        os.close(self._fd)
        kill_leftovers(self.oracle, lambda line: None)
        shutil.rmtree(self.root, ignore_errors=True)

    def live(self, body: Body, crash_at: int | None = None) -> bool:
        """One life; True when it came to its own end. Raises AssertionError when it failed otherwise."""
        self.page.reset(crash_at)
        errors = self.root / "errors"
        pid = os.fork()
        if pid == 0:
            self._be_the_engine(body, errors)
        status = self._watch(pid)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and crash_at is not None:
            return False
        assert status == 0, errors.read_text() if errors.exists() else f"the engine ended with status {status}"
        return True

    def _be_the_engine(self, body: Body, errors: Path) -> None:
        status = 1
        try:
            trio.run(self._engine_life, body)
            status = 0
        except BaseException:
            errors.write_text(traceback.format_exc())
        finally:
            os._exit(status)

    def _watch(self, pid: int) -> int:
        end = time.monotonic() + _LIFE_SECONDS
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            request = self.page.request
            if request != NONE or time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                if request == ENGINE_AND_SHIM:
                    with suppress(ProcessLookupError):  # of two that launch at once, the other one has ended
                        os.kill(self.page.shim, signal.SIGKILL)
                self.page.done()
                assert request != NONE, "the life did not end"
                return status
            time.sleep(0.0005)

    async def _engine_life(self, body: Body) -> None:
        bench = RealBench(self.root)
        async with self._open_engine(bench) as engine:
            await recover(engine)
            await sweep_later(engine)  # the daemon does not wait for it; here what it may append is to belong to this life
            await body(engine, bench)

    @asynccontextmanager
    async def _open_engine(self, bench: RealBench) -> AsyncIterator[Engine]:
        """As `docket.cli.bootstrap.open_engine`, with ports that pass points."""
        places, life = self.places, PageLife(self.page)
        registry = SimulatedRegistry()
        registry.life = life  # type: ignore[assignment]
        make_directories(places)
        snapshotter, content = OverlaySnapshotter(places.data_root), ContentStore(f"{places.data_root}/content")
        rootfs = OverlayRootfs(snapshotter, lambda reason: None)
        with SqliteEventStore(Path(places.data_root, "log.db"), Codec(EVENT_TYPES), state_schema=1) as store:
            async with LinuxKernel.open(self._launcher()) as kernel, trio.open_nursery() as nursery:
                outputs = FileOutputLogs()
                await nursery.start(outputs.run)
                mortal = MortalKernel(kernel, life, bench.failing)
                files = HostFiles()
                ports = Ports(
                    MortalStore(store, life, lambda events: None),  # type: ignore[arg-type]
                    RecordingKernel(mortal, store.save_recording, places, files),  # type: ignore[arg-type]
                    SystemClock(),
                    RandomIds(),
                    outputs,
                    MortalRootfs(rootfs, life, bench.failing),  # type: ignore[arg-type]
                    MortalImages(ImageImports(content, snapshotter), life, bench.failing),
                    places,
                    files,
                    registry=registry,
                )
                nursery.start_soon(rootfs.run)
                yield Engine(ports, nursery, JOBS)
                await store.settle()
                nursery.cancel_scope.cancel()

    def _launcher(self) -> launching.Launcher:
        os.set_inheritable(self._fd, True)
        launching._PROGRAM = _PROGRAM.format(root=str(ROOT), fd=self._fd)
        perform, page = linux_kernel.perform, self.page

        def pointed(context: object, operation: list[object]) -> bool:
            page.in_engine("op", str(operation[0]))
            page.in_engine("shim", str(operation[0]))
            changed = perform(context, operation)  # type: ignore[arg-type]
            page.in_engine("done", str(operation[0]))
            return changed

        linux_kernel.perform = pointed  # type: ignore[assignment]
        return launching.Launcher()


def points_of(scenario: Scenario, directory: Path) -> list[Point]:
    """The points of a dry run on the real kernel."""
    with _world(directory) as world:
        world.live(scenario.setup)
        world.live(scenario.body)
        points = [Point(when, what) for when, what in world.page.points()]
        check_recovery(world)
        return points


def cases(scenario: Scenario, directory: Path) -> list[Case]:
    """Every crash of a scenario."""
    return [Case(scenario, at, point) for at, point in enumerate(points_of(scenario, directory))]


def check(case: Case, directory: Path) -> None:
    """Crash, recover, and check. Raises AssertionError."""
    with _world(directory) as world:
        world.live(case.scenario.setup)
        world.live(case.scenario.body, case.at)
        check_recovery(world)


class _World:
    """A `RealWorld` that is closed whatever happens."""

    def __init__(self, directory: Path) -> None:
        self.world = RealWorld(directory / "root")

    def __enter__(self) -> RealWorld:
        return self.world

    def __exit__(self, *error: object) -> None:
        self.world.close()


def _world(directory: Path) -> _World:
    return _World(directory)


def check_recovery(world: RealWorld) -> None:
    """The next engine settles everything, the one after it has nothing to do, and what is removed leaves nothing."""
    heads = world.root / "heads"

    async def settle(engine: Engine, bench: RealBench) -> None:
        await _quiet(engine)
        _check_state(engine)
        await engine.ports.store.settle()
        heads.open("a").write(f"{engine.ports.store.head()}\n")

    async def remove_all(engine: Engine, bench: RealBench) -> None:
        await settle(engine, bench)
        await clean_up(engine)
        await _quiet(engine)
        assert not engine.state.containers
        assert not engine.state.execs
        while os.listdir(f"{world.places.data_root}/trash"):
            await trio.sleep(0.01)

    heads.unlink(missing_ok=True)
    world.live(settle)
    world.live(remove_all)
    first, second = heads.read_text().split()
    assert first == second, f"a second recovery appended {int(second) - int(first)} events"
    assert world.oracle.leaks() == []


async def _quiet(engine: Engine) -> None:
    """Wait until what ends by itself has ended and is released: nothing is left but what runs for ever."""
    with trio.fail_after(20):
        while engine.releasing or _ending(engine) or _left(engine):
            await trio.sleep(0.005)


def _ending(engine: Engine) -> list[str]:
    state = engine.state
    alive = [each for each in state.containers.values() if each.alive]
    containers = [each.id for each in alive if each.spec.command[:1] != ("sleep",) or _is_dying(each.pid)]
    return containers + [each.id for each in state.execs.values() if each.running and each.spec.program != "sleep"]


def _is_dying(pid: int) -> bool:
    """Killed, and not yet told to the engine."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status["State"].strip()[0] in "ZX" or bool(int(status["ShdPnd"], 16) >> signal.SIGKILL - 1 & 1)


def _left(engine: Engine) -> list[str]:
    state, places = engine.state, engine.ports.places
    running = {each.id for each in state.containers.values() if each.alive}
    running |= {each.id for each in state.execs.values() if each.running}
    return sorted({*os.listdir(places.shims), *os.listdir(places.runtimes)} - running)


def _check_state(engine: Engine) -> None:
    store, state = engine.ports.store, engine.state
    before = beginning(store)
    again = fold(store.read_for_fold(before.position), before)
    assert msgspec.json.encode(again) == msgspec.json.encode(state)
    assert invariants.open_intents(store.read()) == []
    assert {container.name: key for key, container in state.containers.items()} == state.names
    for container in state.containers.values():
        assert not container.unsettled, f"{container.name} is {container.status}"
        if container.alive:
            os.kill(container.pid, 0)
    store.verify()


def _image() -> bytes:
    """A small system: busybox and what its account files need."""
    busybox = shutil.which("busybox")
    assert busybox is not None, "needs a static busybox: install it"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        for path, content in SYSTEM_FILES.items():
            if not path.startswith("/bin/"):
                _add(archive, path[1:], content, 0o644)
            elif path != "/bin/busybox":
                link = tarfile.TarInfo(path[1:])
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))


def results(scenario: Scenario, directory: Path, every: int = 1) -> Iterator[tuple[Case, bool]]:
    """Every ``every``-th case, and the first of each kind of point, and whether everything held."""
    seen: set[str] = set()
    for case in cases(scenario, directory):
        if case.at % every and case.point.when in seen:
            continue
        seen.add(case.point.when)
        try:
            check(case, directory)
            yield case, True
        except Exception as error:
            print(f"\n  {case}: {type(error).__name__}: {error}", file=sys.stderr)
            yield case, False

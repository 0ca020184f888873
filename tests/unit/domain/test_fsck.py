"""fsck: each kind of damage is found and named, what can be repaired is, and each repair is an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from docket.domain.drift import DriftWatch
from docket.domain.engine import Engine, Job, Ports
from docket.domain.errors import CorruptEvent
from docket.domain.jobs import JOBS
from docket.domain.jobs.create import Create
from docket.domain.jobs.fsck import Finding, Report, check
from docket.domain.jobs.remove import Remove
from docket.domain.jobs.stop import Stop
from docket.domain.model.container.events import ContainerDrifted, ContainerExited
from docket.domain.model.container.spec import ContainerSpec, MountSpec
from docket.domain.model.engine.events import EngineRepaired
from docket.domain.model.image.commands import AddImage
from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.model.state import EVENT_TYPES, fold
from docket.domain.plan.settings import HostFiles, Places
from docket.domain.ports import ImageCheck
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore
from docket.kernel.fake.filesystem import directory_at
from docket.kernel.fake.inventory import FakeInventory
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.ports import FakeClock, FakeRootfs, NoGarbage, SequentialIds
from docket.kernel.fake.programs import Running

IMAGE, LAYER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PLACES = Places("/var/lib/docket", "/run/docket")
STRANGER = "f" * 64


class Host:
    """An engine on the fake kernel, and what a test does behind its back."""

    def __init__(self, kernel: FakeKernel, store: MemoryEventStore, engine: Engine, inventory: FakeInventory) -> None:
        self.kernel = kernel
        self.store = store
        self.engine = engine
        self.inventory = inventory

    async def ask(self, name: str, *arguments: str, request: Any = None) -> Any:
        return await self.engine.run(Job(name, arguments, "test", self.engine.ports.ids.new(32), request))

    async def running(self, name: str = "web", *command: str, **spec: Any) -> str:
        command = command or ("sleep", "1")
        made = Create(ContainerSpec(image=IMAGE, **spec), name, command=command)
        container: str = await self.ask("create", request=made)
        await self.ask("start", container)
        return container

    def lose_process(self, container: str) -> None:
        """The process ends, and the engine is not told: its shim is gone too."""
        process = self.kernel.model.processes.table[self.engine.state.containers[container].pid]
        shim = self.kernel._shims.known[container]
        shim.ended = trio.Event()
        process.exit_code = 0

    async def problems(self) -> set[tuple[str, str]]:
        report = await check(self.engine)
        return {(finding.area, finding.problem) for finding in report.findings}


Test = Callable[[Host], Awaitable[None]]


async def forever(running: Running) -> int:
    await trio.sleep_forever()
    return 0


def on_host(test: Test) -> None:
    async def life() -> None:
        # The mock clock jumps while a worker thread works: no program may end with time.
        kernel, store = FakeKernel(programs={"sleep": forever}), MemoryEventStore(Codec(EVENT_TYPES))
        inventory = FakeInventory(kernel, PLACES)
        images: Any = NoGarbage()
        async with trio.open_nursery() as nursery:
            ports = Ports(
                store, kernel, FakeClock(), SequentialIds(), kernel.logs, FakeRootfs(kernel), images, PLACES, HostFiles(),
                inventory=inventory,
            )  # fmt: skip
            engine = Engine(ports, nursery, JOBS)
            imported = ImageImported(IMAGE, IMAGE, (LAYER,), 1, ImageDefaults())
            await engine.execute(AddImage(imported), engine.job("import", (), "test"))
            await test(Host(kernel, store, engine, inventory))
            nursery.cancel_scope.cancel()

    trio.run(life, clock=MockClock(autojump_threshold=0))


async def repaired(host: Host) -> list[Finding]:
    """Repair, and expect nothing to be left that could be."""
    report: Report = await host.ask("fsck", "repair")
    assert not [finding for finding in (await check(host.engine)).findings if finding.repair]
    told = [stored.event for stored in host.store.read(types=("EngineRepaired",))]
    assert [event.problem for event in told if isinstance(event, EngineRepaired)] == [
        finding.problem for finding in report.findings if finding.repaired
    ]
    return [finding for finding in report.findings if finding.repaired]


def test_a_life_without_damage_has_no_findings() -> None:
    """Running, ended, removed and failed containers are all as the log says."""

    async def test(host: Host) -> None:
        await host.running()
        await host.running("paused")
        await host.ask("pause", "paused")
        await host.running("gone")
        await host.ask("remove", "gone", request=Remove(force=True))
        await host.running("ended")
        await host.ask("stop", "ended", request=Stop(timeout_seconds=0))
        await trio.sleep(1)
        report = await check(host.engine)
        assert report.findings == ()
        assert report.checked == {"log": host.store.head(), "projection": 1, "image": 1, "container": 3}

    on_host(test)


def test_a_check_appends_nothing() -> None:
    """It reads only, whatever it finds."""

    async def test(host: Host) -> None:
        await host.running()
        directory_at(host.kernel.host_files, f"/run/docket/shims/{STRANGER}")
        head = host.store.head()
        assert await host.problems()
        assert [type(stored.event).__name__ for stored in host.store.read(head)] == []

    on_host(test)


def test_an_altered_event_is_found_and_nothing_is_concluded_from_it() -> None:
    """The chain names the first one; projections of a log that lies are not compared."""

    async def test(host: Host) -> None:
        await host.running()
        row = list(host.store._rows[2])
        row[5] = row[5].replace("e", "a", 1)
        host.store._rows[2] = tuple(row)  # type: ignore[call-overload]
        with pytest.raises(CorruptEvent):
            host.store.verify()
        report = await check(host.engine)
        assert [(finding.area, finding.subject) for finding in report.findings] == [("log", "event 3")]
        assert "projection" not in report.checked

    on_host(test)


def test_a_state_that_is_not_the_fold_is_found() -> None:
    """Whatever changed the engine's memory, it was no event."""

    async def test(host: Host) -> None:
        container = await host.running()
        host.engine.state.containers[container].name = "other"
        assert ("projection", f"the engine's state is not the fold of {host.store.head()} events: restart it") in (
            await host.problems()
        )

    on_host(test)


def test_a_wrong_state_snapshot_is_found_and_folded_again() -> None:
    """A fold that was stored wrongly would poison every start."""

    async def test(host: Host) -> None:
        await host.running()
        host.store.save_snapshot(3, msgspec.json.encode(fold(host.store.read_for_fold(0, 3))))
        host.store.save_snapshot(4, msgspec.json.encode(fold(host.store.read_for_fold(0, 3))))
        assert await host.problems() == {("projection", "the state snapshot is not the fold of the first 4 events")}
        await repaired(host)
        assert dict(host.store.snapshots())[4] == msgspec.json.encode(fold(host.store.read_for_fold(0, 4)))

    on_host(test)


def test_views_that_differ_are_found() -> None:
    """People and tools read the views; they must say what the engine says."""

    async def test(host: Host) -> None:
        container = await host.running()
        host.store.views = lambda: {"containers": {container: "other"}, "images": {IMAGE: ""}, "jobs": {}}  # type: ignore[method-assign]
        assert await host.problems() == {("projection", f"it differs from the events about {container}")}

    on_host(test)


def test_damaged_and_foreign_blobs_are_found() -> None:
    """An image whose bytes are gone, and bytes that no image needs, unless an import is under way."""

    async def test(host: Host) -> None:
        host.inventory.check = ImageCheck({IMAGE: ("blob x is missing",), "sha256:other": ("gone since",)}, ("blob y",))
        expected = {("image", "blob x is missing: remove the image and import it again"), ("image", "no image needs it")}
        assert await host.problems() == expected
        importing = host.engine.job("import", (), "test")
        from docket.domain.model.job.events import JobAccepted

        await host.engine.record([JobAccepted(importing.id, "import")], importing)
        assert ("image", "no image needs it") not in await host.problems()

    on_host(test)


def test_a_process_that_is_gone_without_a_word_is_found() -> None:
    """The log says that it runs, the kernel says that it does not: the next start of the daemon settles it."""

    async def test(host: Host) -> None:
        container = await host.running()
        host.lose_process(container)
        [problem] = await host.problems()
        assert problem[1].startswith("the log says that it runs, but its process")

    on_host(test)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/var/lib/docket/containers", "the log names no container that this directory belongs to"),
        ("/run/docket/containers", "the log names no container that this runtime directory belongs to"),
        ("/run/docket/shims", "the log names no container that this shim belongs to"),
    ],
)
def test_what_no_container_owns_is_found_and_removed(path: str, problem: str) -> None:
    """No object is there that the log does not name."""

    async def test(host: Host) -> None:
        await host.running()
        directory_at(host.kernel.host_files, f"{path}/{STRANGER}")
        assert await host.problems() == {("container", problem)}
        await repaired(host)
        assert not await host.kernel.exists(f"{path}/{STRANGER}")

    on_host(test)


def test_what_an_ended_container_left_is_found_and_removed() -> None:
    """Cgroups of containers that the log knows are its own; those of other engines on the host are left alone."""

    async def test(host: Host) -> None:
        ended, removed = await host.running("ended"), await host.running("removed")
        await host.ask("stop", "ended", request=Stop(timeout_seconds=0))
        await host.ask("remove", "removed", request=Remove(force=True))
        await trio.sleep(1)
        for container in (ended, removed, STRANGER):
            host.kernel.model.cgroups.create(f"/sys/fs/cgroup/docket/{container}", ())
        directory_at(host.kernel.host_files, f"/run/docket/shims/{ended}")
        assert await host.problems() == {
            ("container", "it has ended, but its cgroup is still there"),
            ("container", "it has ended, but its shim is still there"),
            ("container", "the container was removed, but its cgroup is still there"),
        }
        assert len(await repaired(host)) == 3
        assert host.kernel.model.cgroups.exists(f"/sys/fs/cgroup/docket/{STRANGER}")

    on_host(test)


def test_what_a_running_container_lacks_is_found() -> None:
    """Directories that were deleted below it cannot be repaired, only told."""

    async def test(host: Host) -> None:
        container = await host.running()
        for path in ("/run/docket/containers", "/var/lib/docket/containers"):
            del directory_at(host.kernel.host_files, path).entries[container]
        assert await host.problems() == {
            ("container", "it runs, but its runtime directory is missing: restart the container"),
            ("container", "it runs, but its directory is missing: restart the container"),
        }
        report: Report = await host.ask("fsck", "repair")
        assert not any(finding.repaired for finding in report.findings)

    on_host(test)


# Drift.


def drifts(host: Host) -> list[tuple[str, str]]:
    events = [stored.event for stored in host.store.read(types=("ContainerDrifted",))]
    return [(event.container, event.what) for event in events if isinstance(event, ContainerDrifted)]


async def watched(host: Host) -> None:
    """Five seconds under the engine's eyes."""
    with trio.move_on_after(5):
        await DriftWatch(host.engine).run()


def test_a_container_at_peace_does_not_drift() -> None:
    """Nothing is told of what is as it was, paused or running."""

    async def test(host: Host) -> None:
        await host.running(mounts=(MountSpec("tmpfs", "/data"),))
        await host.ask("pause", "web")
        await watched(host)
        assert drifts(host) == []

    on_host(test)


def test_a_cgroup_that_is_taken_away_is_told_within_five_seconds_and_once() -> None:
    """Limits no longer reach the process: the log says so, once in a run."""

    async def test(host: Host) -> None:
        container = await host.running()
        process = host.kernel.model.processes.table[host.engine.state.containers[container].pid]
        process.cgroup = "/sys/fs/cgroup"
        await watched(host)
        await watched(host)
        assert drifts(host) == [(container, "cgroup")]
        assert host.engine.state.containers[container].drifted == ("cgroup",)

    on_host(test)


def test_a_lost_mount_is_told_within_five_seconds() -> None:
    """Those of every container at once, those of its user once they have been seen."""

    async def test(host: Host) -> None:
        container = await host.running(mounts=(MountSpec("tmpfs", "/data"),))
        watch = DriftWatch(host.engine)
        await watch.look()
        process = host.kernel.model.processes.table[host.engine.state.containers[container].pid]
        namespace = process.namespaces["mount"].mounts
        assert namespace is not None
        from docket.kernel.fake.mounts import path_of

        namespace.mounts = [
            mount for mount in namespace.mounts if not mount.location or path_of(mount.location) not in {"/proc", "/data"}
        ]
        await watch.look()
        assert drifts(host) == [(container, "mount /data"), (container, "mount /proc")]

    on_host(test)


def test_a_killed_shim_is_the_containers_end() -> None:
    """Nobody keeps the process then: it ends with its shim, and the log says why its status is not known."""

    async def test(host: Host) -> None:
        container = await host.running()
        shim = host.kernel._shims.known[container]
        host.kernel.model.processes.end(shim.process, 137)
        shim.ended.set()
        with trio.move_on_after(5):
            while host.engine.state.containers[container].alive:
                await host.engine.changed()
        [end] = [stored.event for stored in host.store.read(types=("ContainerExited",))]
        assert isinstance(end, ContainerExited)
        assert (end.exit_code, "shim" in end.reason) == (137, True)

    on_host(test)

"""What holds after every step of every history, after every recovery, and when everything was removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio

from docket.domain.engine import Engine
from docket.domain.log import Event, StoredEvent
from docket.domain.model.container import events as c
from docket.domain.model.container.state import ContainerStatus
from docket.domain.model.exec import events as e
from docket.domain.model.exec.state import ExecStatus
from docket.domain.model.image import events as i
from docket.domain.model.image.state import ImageStatus
from docket.domain.model.job import events as j
from docket.domain.model.state import fold
from docket.domain.model.transfer import events as t
from docket.kernel.fake.filesystem import Directory
from docket.kernel.fake.kernel import FakeKernel

if TYPE_CHECKING:
    from tests.simulation.disk import Disk, SimulatedStore

INTENTS: dict[type[Event], tuple[type[Event], ...]] = {
    j.JobAccepted: (j.JobCompleted, j.JobFailed),
    c.ContainerStarting: (c.ContainerStarted, c.ContainerStartFailed),
    c.ContainerKilling: (c.ContainerKilled, c.ContainerKillFailed, c.ContainerExited),
    c.ContainerStopping: (c.ContainerStopped, c.ContainerStopFailed, c.ContainerExited),
    c.ContainerPausing: (c.ContainerPaused, c.ContainerPauseFailed, c.ContainerExited),
    c.ContainerUnpausing: (c.ContainerUnpaused, c.ContainerUnpauseFailed, c.ContainerExited),
    c.ContainerUpdating: (c.ContainerUpdated, c.ContainerUpdateFailed),
    c.ContainerCommitting: (c.ContainerCommitted, c.ContainerCommitFailed),
    c.ContainerRemoving: (c.ContainerRemoved, c.ContainerRemoveFailed),
    e.ExecStarting: (e.ExecStarted, e.ExecStartFailed),
    i.ImageRemoving: (i.ImageRemoved, i.ImageImported),
    t.ImagePulling: (t.ImagePulled, t.ImagePullFailed),
    t.ImagePushing: (t.ImagePushed, t.ImagePushFailed),
}
"""Each intent, and what ends it."""


def check_step(engine: Engine, store: SimulatedStore, kernel: FakeKernel, disk: Disk) -> None:
    """Replay equals live state and does nothing; names are owned once; the log names what there is."""
    check_replay(engine, store, kernel)
    state = engine.state
    assert {container.name: key for key, container in state.containers.items()} == state.names
    named = {name: image.id for image in state.images.values() for name in (*image.references, *image.digests)}
    assert named == state.references
    assert all(bool(container.pid) == container.alive for container in state.containers.values() if not container.unsettled)
    for image in state.images.values():
        assert image.status is not ImageStatus.PRESENT or set(image.layers) <= disk.blobs, f"{image.id} lacks its blobs"
    for container in state.containers.values():
        assert container.image_id in state.images or not container.alive, f"the image of {container.id} is gone"
    check_named(engine, kernel)


def check_no_garbage(engine: Engine, disk: Disk) -> None:
    """Some time after the start no blob is left that nothing names."""
    needed = {name for image in engine.state.images.values() for name in (image.id, image.manifest, *image.layers)}
    needed |= {layer for container in engine.state.containers.values() for layer in container.layers}
    assert disk.blobs <= needed, f"blobs that nothing names: {sorted(disk.blobs - needed)}"


def check_replay(engine: Engine, store: SimulatedStore, kernel: FakeKernel) -> None:
    """A fold of the log from event 1 is the live state, byte for byte, and asks nothing of the kernel."""
    steps, objects = len(kernel.trace), kernel.leaks()
    again = fold((stored.event, stored.metadata.time_ns, stored.position) for stored in store.everything())
    assert msgspec.json.encode(again) == msgspec.json.encode(engine.state)
    assert (len(kernel.trace), kernel.leaks()) == (steps, objects)


def check_named(engine: Engine, kernel: FakeKernel) -> None:
    """Every process that a shim was made for, and every trace of a shim, belongs to something that the log says is under way."""
    named = {key for key, container in engine.state.containers.items() if container.alive or container.unsettled}
    named |= {key for key, each in engine.state.execs.items() if each.status in {ExecStatus.STARTING, ExecStatus.RUNNING}}
    for shim in kernel._shims._by_directory.values():
        if shim.started is not None and shim.started.alive:
            assert shim.launch.key in named, f"process {shim.started.pid} of {shim.launch.key} runs and the log does not know"
    for path in paths_below(kernel.host_files, "/var/lib/docket/containers"):
        key = path.split("/")[0]
        assert key in engine.state.containers, f"container directory {key} has no container"


def check_quiet(engine: Engine, kernel: FakeKernel) -> None:
    """Nothing is under way: no open intent, no open job, and no trace of anything that does not run."""
    state = engine.state
    containers = state.containers.values()
    open_ones = [each.id for each in containers if each.unsettled or each.updating or each.committing]
    assert not open_ones, f"unsettled: {open_ones}"
    assert not state.transfers, f"transfers under way: {list(state.transfers)}"
    assert not any(container.status is ContainerStatus.STOPPING for container in state.containers.values())
    running = {container.id for container in state.containers.values() if container.alive}
    running |= {each.id for each in state.execs.values() if each.status is ExecStatus.RUNNING}
    for line in kernel.leaks():
        lasting = not line.startswith("exit file") and any(f"/lib/docket/containers/{key}" in line for key in state.containers)
        if line.startswith("process") or lasting:
            continue
        assert any(key in line for key in running), f"{line} belongs to nothing that runs"
    cgroups = {process.cgroup for process in kernel.model.processes.living() if process.pid != 1 and process.cgroup}
    assert all(any(key in cgroup for key in running) for cgroup in cgroups), "a process runs in the cgroup of nothing"


def check_removed(engine: Engine, kernel: FakeKernel) -> None:
    """Everything was removed: nothing is left."""
    assert not engine.state.containers
    assert not engine.state.execs
    assert kernel.leaks() == ()
    assert list(paths_below(kernel.host_files, "/var/lib/docket/containers")) == []
    assert list(paths_below(kernel.host_files, "/run/docket/shims")) == []
    assert list(paths_below(kernel.host_files, "/run/docket/containers")) == []


def check_confined(kernel: FakeKernel) -> None:
    """A process that runs went through its whole plan, in its order, and nothing of it failed (S13)."""
    for shim in kernel._shims._by_directory.values():
        if shim.started is None or not shim.started.alive:
            continue
        launch = shim.launch
        wanted = [(type(each).__name__, each.describe()) for each in launch.plan.operations()]
        begun = max(n for n, step in enumerate(kernel.trace) if (step.key, step.kind) == (launch.key, "launch"))
        steps = [step for step in kernel.trace[begun + 1 :] if step.key == launch.key][: len(wanted)]
        assert [(step.kind, step.what) for step in steps] == wanted
        assert {step.outcome for step in steps} == {"ok"}


def check_acknowledged(disk: Disk) -> None:
    """What somebody was told of is in the log, once, at its place."""
    assert [row[0] for row in disk.rows] == list(range(1, len(disk.rows) + 1))
    for position, digest in disk.acknowledged.items():
        assert position <= len(disk.rows), f"acknowledged event {position} is lost"
        assert disk.rows[position - 1][-1] == digest, f"acknowledged event {position} is another one now"


def check_told(told: trio.MemoryReceiveChannel[StoredEvent]) -> None:
    """A reader gets every event once and in order."""
    positions = []
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            positions.append(told.receive_nowait().position)
    assert positions == list(range(positions[0], positions[0] + len(positions))) if positions else True


def open_intents(stored: Iterable[StoredEvent]) -> list[str]:
    """Intents without an outcome, each in a line."""
    found: dict[tuple[str, type[Event]], list[int]] = {}
    for each in stored:
        kind = type(each.event)
        for intent, outcomes in INTENTS.items():
            waiting = found.get((each.stream, intent))
            if waiting and kind in outcomes:
                del waiting[:1]
                if kind in (c.ContainerExited, c.ContainerStopFailed):
                    waiting.clear()  # an end is every intent's, and what is not being stopped is so for all who asked
        if kind in INTENTS:
            found.setdefault((each.stream, kind), []).append(each.position)
    return [f"{kind.__name__} at {at} of {stream}" for (stream, kind), positions in found.items() for at in positions]


def paths_below(root: Directory, path: str) -> Iterator[str]:
    """Every file and directory below a directory of the fake host."""
    directory = root
    for name in path.strip("/").split("/"):
        inode = directory.lookup(name)
        if not isinstance(inode, Directory):
            return
        directory = inode
    yield from _names(directory, "")


def _names(directory: Directory, prefix: str) -> Iterator[str]:
    for name in directory.names():
        yield prefix + name
        inode = directory.lookup(name)
        if isinstance(inode, Directory):
            yield from _names(inode, f"{prefix}{name}/")

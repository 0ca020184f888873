"""fsck: log, chain, projections, blobs and kernel are checked against each other.

    log          every event is what was appended, the database around the events is sound
    projection   the fold of all events is the live state, every stored state snapshot, and what the SQL views say
    image        blobs and layers are there and are what their digests say
    container    what the log says runs, runs; what it says ended has left nothing; nothing is there that the log does not name

`check` reads only. `fsck`, the job, also repairs what can be repaired, and appends what it did: each repair is an event. Objects of
the kernel come and go while it looks, so what is found there counts when it is found twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from docket.domain.errors import CorruptEvent, EventsDropped, PortError, StoreError
from docket.domain.jobs.images import BRINGS_IMAGES
from docket.domain.jobs.launching import identity_of
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container
from docket.domain.model.engine.events import EngineRepaired
from docket.domain.model.state import EngineState, evolve
from docket.domain.plan import operations as op
from docket.domain.plan.rootfs import GENERATED
from docket.domain.ports import Belongings, EventStore, Inventory
from docket.domain.snapshots import beginning
from docket.domain.sweeping import stored

if TYPE_CHECKING:
    from docket.domain.engine import Engine, Job

_SECOND_LOOK_SECONDS = 0.5


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be. ``repair`` says what repairing would do, or has done; empty when it cannot."""

    area: str
    subject: str
    problem: str
    repair: str = ""
    repaired: bool = False


class Report(msgspec.Struct, frozen=True):
    """``checked`` counts what was looked at, by area; what could not be looked at is missing there."""

    checked: dict[str, int]
    findings: tuple[Finding, ...]


async def fsck(engine: Engine, job: Job) -> Report:
    """The job: check, repair, and check what is left."""
    before = await check(engine)
    done = []
    for finding in before.findings:
        if finding.repair:
            await _repair(engine, finding)
            await engine.record([EngineRepaired(finding.area, finding.subject, finding.problem, finding.repair)], job)
            done.append(msgspec.structs.replace(finding, repaired=True))
    return Report(before.checked, (*done, *(each for each in before.findings if not each.repair)))


async def check(engine: Engine) -> Report:
    """Look at everything; changes nothing."""
    checked: dict[str, int] = {}
    findings = await trio.to_thread.run_sync(_check_log, engine.ports.store, checked)
    if not findings:
        findings += await _check_projections(engine, checked)
    inventory = engine.ports.inventory
    if inventory is not None:
        findings += await _check_images(engine, inventory, checked)
        findings += await _check_containers(engine, inventory, checked)
    return Report(checked, tuple(findings))


# The log and what is made of it.


def _check_log(store: EventStore, checked: dict[str, int]) -> list[Finding]:
    try:
        checked["log"] = store.verify().events
    except CorruptEvent as error:
        return [Finding("log", f"event {error.position}", str(error))]
    except StoreError as error:
        return [Finding("log", "database", str(error))]
    return []


async def _check_projections(engine: Engine, checked: dict[str, int]) -> list[Finding]:
    store = engine.ports.store
    await store.settle()
    live, position = msgspec.json.encode(engine.state), engine.state.position
    try:
        folded, findings, count = await trio.to_thread.run_sync(_fold_beside_snapshots, store, position)
    except EventsDropped as error:
        text = f"the fold of the first {error.floor} events, which are no longer kept, is missing or damaged: restore a backup"
        return [Finding("projection", f"snapshot {error.floor}", text)]
    checked["projection"] = count + 1
    if engine.state.position == position and msgspec.json.encode(folded) != live:
        findings.append(Finding("projection", "state", f"the engine's state is not the fold of {position} events: restart it"))
    head = store.head()
    views = await trio.to_thread.run_sync(store.views)
    if views is not None and store.head() == head == folded.position:
        checked["projection"] += len(views)
        findings += [Finding("projection", f"view {name}", text) for name, text in _view_differences(folded, views)]
    return findings


def _fold_beside_snapshots(store: EventStore, upto: int) -> tuple[EngineState, list[Finding], int]:
    """The fold of all events that are kept, compared with each snapshot on the way."""
    snapshots = dict(store.snapshots())
    state, findings = beginning(store), []
    for event, time_ns, position in store.read_for_fold(state.position, upto):
        evolve(state, event, time_ns, position)
        data = snapshots.get(position)
        if data is not None and data != msgspec.json.encode(state):
            problem = f"the state snapshot is not the fold of the first {position} events"
            findings.append(Finding("projection", f"snapshot {position}", problem, "fold the events again"))
    return state, findings, len(snapshots)


def _view_differences(state: EngineState, views: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    expected = {
        "containers": {container.id: container.name for container in state.containers.values()},
        "images": dict.fromkeys(state.images, ""),
        "jobs": {job.id: job.name for job in state.jobs.values()},
    }
    differences = []
    for name, rows in views.items():
        wrong = sorted(set(expected[name].items()) ^ set(rows.items()))
        if wrong:
            differences.append((name, f"it differs from the events about {', '.join(sorted({key for key, _ in wrong}))}"))
    return differences


# Blobs and layers.


async def _check_images(engine: Engine, inventory: Inventory, checked: dict[str, int]) -> list[Finding]:
    importing = any(job.name in BRINGS_IMAGES for job in engine.state.jobs.values())
    images = list(engine.state.images.values())
    try:
        found = await inventory.check_images([stored(image) for image in images])
    except PortError as error:
        return [Finding("image", "content store", str(error))]
    checked["image"] = len(images)
    findings = [
        Finding("image", image, f"{problem}: remove the image and import it again")
        for image, problems in found.damage.items()
        if image in engine.state.images
        for problem in problems
    ]
    if not importing:  # what is being imported is named by no event yet
        findings += [Finding("image", stranger, "no image needs it") for stranger in found.strangers]
    return findings


# Containers.


async def _check_containers(engine: Engine, inventory: Inventory, checked: dict[str, int]) -> list[Finding]:
    try:
        first = await _look(engine, inventory)
        if not first:
            checked["container"] = len(engine.state.containers)
            return []
        await trio.sleep(_SECOND_LOOK_SECONDS)
        second = await _look(engine, inventory)
    except PortError as error:
        return [Finding("container", "host", str(error))]
    checked["container"] = len(engine.state.containers)
    return [finding for finding in first if finding in second]


async def _look(engine: Engine, inventory: Inventory) -> list[Finding]:
    there = await inventory.belongings()
    findings = []
    for container in list(engine.state.containers.values()):
        if container.alive:
            findings += await _look_at_running(engine, container, there)
        elif not container.unsettled:
            findings += _look_at_ended(container, there)
    return findings + await trio.to_thread.run_sync(_strangers, engine, there)


async def _look_at_running(engine: Engine, container: Container, there: Belongings) -> list[Finding]:
    if not await engine.ports.kernel.signal(container.id, identity_of(container), 0):
        problem = f"the log says that it runs, but its process {container.pid} has ended: restart the daemon, which asks why"
        return [Finding("container", container.id, problem)]
    findings = []
    for kind, names in (("shim", there.shims), ("directory", there.containers), ("runtime directory", there.runtimes)):
        if container.id not in names:
            findings.append(Finding("container", container.id, f"it runs, but its {kind} is missing: restart the container"))
    if container.spec.cgroup_parent or container.spec.cgroup_driver == "systemd":
        there_too = await engine.ports.kernel.exists(container.cgroup)
    else:
        there_too = container.cgroup.rpartition("/")[2] in there.cgroups
    if container.cgroup and not there_too:
        findings.append(Finding("container", container.id, f"it runs, but its cgroup {container.cgroup} is missing"))
    return findings


def _look_at_ended(container: Container, there: Belongings) -> list[Finding]:
    findings = []
    if container.run and not container.error and container.id not in there.containers:
        findings.append(Finding("container", container.id, "its directory is missing: remove the container"))
    for kind, names in (("shim", there.shims), ("cgroup", there.cgroups), ("runtime directory", there.runtimes)):
        if container.id in names:
            findings.append(
                Finding("container", container.id, f"it has ended, but its {kind} is still there", f"remove the {kind}")
            )
    return findings


def _strangers(engine: Engine, there: Belongings) -> list[Finding]:
    """What no container or exec of the log is the owner of. Cgroups may be another engine's, unless this log knows them."""
    state = engine.state
    findings = []
    known = {*state.containers, *state.execs}
    for kind, names in (("directory", there.containers), ("shim", there.shims), ("runtime directory", there.runtimes)):
        findings += [
            Finding("container", name, f"the log names no container that this {kind} belongs to", f"remove the {kind}")
            for name in names
            if name not in known
        ]
    unknown = set(there.cgroups) - known
    if unknown:
        created = engine.ports.store.read(types=("ContainerCreated",))
        removed = {str(getattr(stored.event, "container", "")) for stored in created} & unknown
        text = "the container was removed, but its cgroup is still there"
        findings += [Finding("container", name, text, "remove the cgroup") for name in sorted(removed)]
    return findings


# Repairs.


async def _repair(engine: Engine, finding: Finding) -> None:
    if finding.area == "projection":
        position = int(finding.subject.removeprefix("snapshot "))
        folded, _, _ = await trio.to_thread.run_sync(_fold_beside_snapshots, engine.ports.store, position)
        engine.ports.store.save_snapshot(position, msgspec.json.encode(folded))
        return
    repairs: dict[str, Callable[[], tuple[op.Operation, ...]]] = {
        "remove the cgroup": lambda: (op.RemoveCgroup(_cgroup(engine, finding.subject)),),
        "remove the runtime directory": lambda: _runtime_undos(engine, finding.subject),
        "remove the shim": lambda: (),
    }
    places, key = engine.ports.places, finding.subject
    if finding.repair in repairs:
        undos = repairs[finding.repair]()
        directory = places.shim(key) if finding.repair == "remove the shim" else f"{places.shim(key)}.none"
        await engine.ports.kernel.release(key, directory, f"{places.shim(key)}.none", undos)
    elif finding.repair == "remove the directory":
        await engine.ports.rootfs.remove(places.container(key))


def _cgroup(engine: Engine, container: str) -> str:
    return engine.ports.places.cgroup(engine.ports.kernel.host(), container, ContainerSpec())


def _runtime_undos(engine: Engine, container: str) -> tuple[op.Operation, ...]:
    runtime = engine.ports.places.runtime(container)
    return (*(op.Unlink(f"{runtime}/{name}") for name in GENERATED), op.RemoveDirectory(runtime))

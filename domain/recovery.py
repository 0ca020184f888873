"""Every start is a recovery: open intents are settled by asking the kernel what became of them.

log says        kernel says: runs        kernel says: ended       kernel knows nothing
starting        started                  started, then exited     start failed
running …       watched again            exited                   exited with 137 and the reason
removing        –                        –                        the removal is finished
ended           –                        –                        what is left of it is taken back

Nothing here may keep the engine from starting: what the kernel refuses becomes an event, and what cannot be found is ended
first, so that the log stays true. A second recovery finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import PortError, Rejected
from docket.domain.jobs import launching, start
from docket.domain.jobs.commit import settle_commit
from docket.domain.jobs.images import is_being_removed
from docket.domain.jobs.remove import finish_removal, remove_container
from docket.domain.jobs.update import apply
from docket.domain.model.container import events
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.container.state import Container, ContainerStatus
from docket.domain.model.image.events import ImageRemoved
from docket.domain.model.job.events import JobFailed
from docket.domain.plan.operations import Operation, RemoveCgroup
from docket.domain.plan.rootfs import reclaim
from docket.domain.ports import Found, ProcessIdentity
from docket.domain.recovery_of_execs import settle_exec
from docket.domain.recovery_of_processes import end_of, find
from docket.domain.recovery_of_transfers import interrupted_transfers

_STARTING = frozenset({ContainerStatus.STARTING, ContainerStatus.RESTARTING})
_ENDED = "the engine ended"
_AT_ONCE = 64
"""How many containers are settled side by side, so that their events share commits."""
_RECLAIM_SECONDS = 10


async def recover(engine: Engine) -> None:
    """Settle everything that was open when the last engine ended, and take back what it left.

    What it left of images is for `sweeping.sweep_later`, which reads every manifest, and need not be waited for.
    """
    job = engine.job("recover", (), "engine")
    with engine.running(job):
        await _recover(engine, job)


async def _recover(engine: Engine, job: Job) -> None:
    await engine.record(
        [JobFailed(key, "Interrupted", "the engine ended before the job did") for key in engine.state.jobs], job
    )
    await _side_by_side([partial(_settle, engine, job, each) for each in engine.state.containers.values()])
    await _side_by_side([partial(_settle_update, engine, job, each) for each in engine.state.containers.values()])
    await _side_by_side([partial(settle_commit, engine, job, each) for each in engine.state.containers.values()])
    await _side_by_side([partial(settle_exec, engine, job, each) for each in engine.state.execs.values()])
    removing = [key for key in engine.state.images if is_being_removed(engine, key)]
    await engine.record([ImageRemoved(key) for key in removing], job)
    await engine.record(interrupted_transfers(engine), job)
    await _reclaim(engine, job)
    await _discard(engine, job)
    for container in list(engine.state.containers.values()):
        if container.spec.auto_remove and container.run and not container.alive:
            await _remove(engine, job, container)


async def _settle_update(engine: Engine, job: Job, container: Container) -> None:
    """Limits are written again: what was written twice is as it was written once."""
    try:
        await apply(engine, job, container)
    except (PortError, Rejected):
        return  # the outcome is in the log


async def _side_by_side(settlements: list[Callable[[], Awaitable[None]]]) -> None:
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def one(settle: Callable[[], Awaitable[None]]) -> None:
        async with limiter:
            await settle()

    async with trio.open_nursery() as nursery:
        for settlement in settlements:
            nursery.start_soon(one, settlement)


async def _settle(engine: Engine, job: Job, container: Container) -> None:
    if container.status is ContainerStatus.REMOVING:
        try:
            await finish_removal(engine, job, container.id)
        except PortError as error:
            engine.note([JobFailed(job.id, type(error).__name__, str(error))], job)
        return
    starting = container.status in _STARTING
    if not starting and not container.alive:
        return
    places = engine.ports.places
    identity = None if starting else launching.identity_of(container)
    found, lost = await find(engine, job, container.id, places.shim(container.id), places.exit_file(container.id), identity)
    if starting and found.identity is None and found.exit is None:
        text = lost or "the engine ended before the container had started"
        await engine.record([events.ContainerStartFailed(container.id, container.run, "", text)], job)
        return
    if starting:
        await engine.record([_observed(engine, container, found)], job)
    if found.identity is None:
        end, reason = end_of(engine, found, container.boot_id, lost)
        await engine.record(launching.ended(container.id, container.run, end, reason), job)
        return
    await _settle_intents(engine, job, container)
    engine.spawn(start.watch, engine, container.id, container.run, start.plan_again(engine, container))


def _observed(engine: Engine, container: Container, found: Found) -> events.ContainerStarted:
    """A process that has ended already is known by its boot only."""
    identity = found.identity or ProcessIdentity(0, 0, engine.ports.kernel.host().boot_id)
    return start.started(engine, container, identity, launching.confinement_of(engine, container.spec))


async def _settle_intents(engine: Engine, job: Job, container: Container) -> None:
    """A half-done pause is undone, a half-done unpause is done; a stop or kill that lost its job is one no more."""
    outcomes: list[events.ContainerEvent] = [
        events.ContainerKillFailed(container.id, each, _ENDED) for each in container.killing
    ]
    status = container.status
    if status in {ContainerStatus.PAUSING, ContainerStatus.UNPAUSING}:
        thawed = await _thawed(engine, container)
        if status is ContainerStatus.PAUSING:
            paused, failed = events.ContainerPaused(container.id), events.ContainerPauseFailed(container.id, _ENDED)
            outcomes.append(failed if thawed else paused)
        else:
            unpaused, kept = events.ContainerUnpaused(container.id), events.ContainerUnpauseFailed(container.id, _ENDED)
            outcomes.append(unpaused if thawed else kept)
    elif status is ContainerStatus.STOPPING:
        await _thawed(engine, container)  # it may have been paused before
        outcomes.append(events.ContainerStopFailed(container.id, _ENDED))
    await engine.record(outcomes, job)


async def _thawed(engine: Engine, container: Container) -> bool:
    if not container.cgroup:
        return True
    try:
        await engine.ports.kernel.thaw(container.cgroup)
    except PortError:
        return False
    return True


async def _remove(engine: Engine, job: Job, container: Container) -> None:
    """``--rm`` whose end the last engine saw, or that ended without one."""
    try:
        await remove_container(engine, job, container.id)
    except (PortError, Rejected) as error:
        engine.note([JobFailed(job.id, type(error).__name__, str(error))], job)


async def _reclaim(engine: Engine, job: Job) -> None:
    """Take back what processes left whose end is in the log, or that the log does not know at all."""
    ports, state = engine.ports, engine.state
    places = ports.places
    ended = [key for key, each in state.containers.items() if each.run and not each.alive]
    traces = {places.exit_file(key): key for key in ended}
    # The cgroups of other engines stand beside this one's own: only those that the log names are taken back.
    traces |= {path: key for key in ended if (path := _cgroup(engine, key))}
    traces |= {places.exit_file(each.container, key): key for key, each in state.execs.items() if not each.running}
    try:
        left = await ports.kernel.remains([places.shims, places.runtimes], list(traces))
    except PortError as error:
        engine.note([JobFailed(job.id, type(error).__name__, str(error))], job)
        return
    for key in sorted({*left.names, *(traces[path] for path in left.paths)}):
        container, instance = state.containers.get(key), state.execs.get(key)
        if (container is not None and container.alive) or (instance is not None and instance.running):
            continue
        exit_file = places.exit_file(instance.container, key) if instance is not None else places.exit_file(key)
        await _end(engine, job, key, exit_file)
        await launching.release(engine, job, key, exit_file, _undos(engine, key))


async def _discard(engine: Engine, job: Job) -> None:
    """Remove the directories of containers that the log says are removed: a power cut brings a renamed directory back."""
    places = engine.ports.places
    try:
        left = await engine.ports.kernel.remains([places.containers], [])
        for key in left.names:
            if key not in engine.state.containers:
                await engine.ports.rootfs.remove(places.container(key))
    except PortError as error:
        engine.note([JobFailed(job.id, type(error).__name__, str(error))], job)


async def _end(engine: Engine, job: Job, key: str, exit_file: str) -> None:
    """Nothing runs that the log does not know: a shim that came to life behind the recovery's back is ended."""
    kernel = engine.ports.kernel
    try:
        found = await kernel.find(key, engine.ports.places.shim(key), exit_file)
        if found.identity is not None and await kernel.signal(key, found.identity, 9):
            with trio.move_on_after(_RECLAIM_SECONDS):
                await kernel.exited(key)
    except PortError as error:
        engine.note([JobFailed(job.id, type(error).__name__, str(error))], job)


def _cgroup(engine: Engine, key: str) -> str:
    container = engine.state.containers.get(key)
    spec = container.spec if container is not None else ContainerSpec()
    return engine.ports.places.cgroup(engine.ports.kernel.host(), key, spec)


def _undos(engine: Engine, key: str) -> tuple[Operation, ...]:
    cgroup = _cgroup(engine, key)
    return (*((RemoveCgroup(cgroup),) if cgroup else ()), *reclaim(key, engine.ports.places))

"""Every start is a recovery: open intents are settled by asking the kernel what became of them.

log says        kernel says: runs        kernel says: ended       kernel knows nothing
starting        ContainerStarted         started, then exited     ContainerStartFailed
running …       watched again            ContainerExited          ContainerExited 137 with the reason
removing        –                        –                        the removal is finished
"""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.jobs import exec_, start
from docket.domain.jobs.launching import confinement_of
from docket.domain.jobs.remove import remove_container
from docket.domain.model.container import events
from docket.domain.model.container.state import Container, ContainerStatus
from docket.domain.model.exec.events import ExecExited, ExecStartFailed
from docket.domain.model.exec.state import Exec, ExecStatus
from docket.domain.model.job.events import JobFailed
from docket.domain.plan.operations import Plan
from docket.domain.ports import Found, ProcessIdentity

_LOST = 137
_STARTING = frozenset({ContainerStatus.STARTING, ContainerStatus.RESTARTING})


async def recover(engine: Engine) -> None:
    """Settle everything that was open when the last engine ended."""
    job = engine.job("recover", (), "engine")
    with engine.running(job):
        await _recover(engine, job)


async def _recover(engine: Engine, job: Job) -> None:
    await engine.record(
        [JobFailed(key, "Interrupted", "the engine ended before the job did") for key in engine.state.jobs], job
    )
    for container in list(engine.state.containers.values()):
        await _settle(engine, job, container)
    for instance in list(engine.state.execs.values()):
        if instance.status in {ExecStatus.STARTING, ExecStatus.RUNNING}:
            await _settle_exec(engine, job, instance)


async def _settle(engine: Engine, job: Job, container: Container) -> None:
    if container.status is ContainerStatus.REMOVING:
        await engine.ports.rootfs.remove(engine.ports.places.container(container.id))
        await engine.record([events.ContainerRemoved(container.id)], job)
        return
    if container.status not in _STARTING and not container.alive:
        return
    places = engine.ports.places
    found = await engine.ports.kernel.find(container.id, places.shim(container.id), places.exit_file(container.id))
    starting = container.status in _STARTING
    if starting and found.identity is None and found.exit is None:
        text = "the engine ended before the container had started"
        await engine.record([events.ContainerStartFailed(container.id, container.run, "", text)], job)
        await _release(engine, container)
        return
    if starting:
        await engine.record([_observed(engine, container, found)], job)
    if found.identity is not None:
        await _settle_pause(engine, job, container)
        engine.spawn(start.watch, engine, container.id, container.run, _plan(engine, container))
        return
    end, reason = (found.exit.code, "") if found.exit is not None else (_LOST, _why_lost(engine, container))
    oom = found.exit is not None and found.exit.oom_killed
    await engine.record([events.ContainerExited(container.id, container.run, end, oom, reason)], job)
    await _release(engine, container)
    if container.spec.auto_remove:
        await remove_container(engine, job, container.id)


def _why_lost(engine: Engine, container: Container) -> str:
    if container.boot_id != engine.ports.kernel.host().boot_id:
        return "the host was rebooted"
    return "the container's shim ended without leaving an exit status"


def _observed(engine: Engine, container: Container, found: Found) -> events.ContainerStarted:
    """A process that has ended already is known by its boot only."""
    identity = found.identity or ProcessIdentity(0, 0, engine.ports.kernel.host().boot_id)
    return start.started(engine, container, identity, confinement_of(engine, container.spec))


async def _settle_pause(engine: Engine, job: Job, container: Container) -> None:
    """A half-done pause is undone, a half-done unpause is done; a stop that lost its job is one no more."""
    if container.status is ContainerStatus.PAUSING:
        await engine.ports.kernel.thaw(container.cgroup)
        await engine.record([events.ContainerPauseFailed(container.id, "the engine ended")], job)
    elif container.status is ContainerStatus.UNPAUSING:
        await engine.ports.kernel.thaw(container.cgroup)
        await engine.record([events.ContainerUnpaused(container.id)], job)
    elif container.status is ContainerStatus.STOPPING:
        await engine.record([events.ContainerStopFailed(container.id, "the engine ended")], job)


def _plan(engine: Engine, container: Container) -> Plan:
    """The plan again, for the undos of what it prepared; layers are not part of those, and may be gone."""
    return start.plan_of(engine, container, confinement_of(engine, container.spec), ())


async def _release(engine: Engine, container: Container) -> None:
    places = engine.ports.places
    await engine.ports.kernel.release(
        container.id, places.shim(container.id), places.exit_file(container.id), _plan(engine, container).release()
    )


async def _settle_exec(engine: Engine, job: Job, instance: Exec) -> None:
    places = engine.ports.places
    directory, exit_file = places.shim(instance.id), places.exit_file(instance.container, instance.id)
    found = await engine.ports.kernel.find(instance.id, directory, exit_file)
    if found.identity is not None and instance.status is ExecStatus.RUNNING:
        engine.spawn(exec_.watch, engine, instance.id, instance.container)
        return
    if instance.status is ExecStatus.STARTING:
        failed = ExecStartFailed(instance.id, instance.container, "", "the engine ended before the process had started")
        await engine.record([failed], job)
    else:
        code = found.exit.code if found.exit is not None else _LOST
        await engine.record([ExecExited(instance.id, instance.container, code, "" if found.exit else "its shim is gone")], job)
    await engine.ports.kernel.release(instance.id, directory, exit_file, ())

"""Recovery of exec instances: the same table as for containers (`docket.domain.recovery`)."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.jobs import exec_
from docket.domain.model.exec.events import ExecExited, ExecStarted, ExecStartFailed
from docket.domain.model.exec.state import Exec, ExecStatus
from docket.domain.ports import ProcessIdentity
from docket.domain.recovery_of_processes import end_of, find


async def settle_exec(engine: Engine, job: Job, instance: Exec) -> None:
    """Watch it again, or append how it ended."""
    starting = instance.status is ExecStatus.STARTING
    if not starting and not instance.running:
        return
    places = engine.ports.places
    identity = None if starting else ProcessIdentity(instance.pid, instance.start_time, instance.boot_id)
    exit_file = places.exit_file(instance.container, instance.id)
    found, lost = await find(engine, job, instance.id, places.shim(instance.id), exit_file, identity)
    if starting and found.identity is None and found.exit is None:
        text = lost or "the engine ended before the process had started"
        await engine.record([ExecStartFailed(instance.id, instance.container, "", text)], job)
        return
    if starting:
        # A process that has ended already is known by its boot only.
        seen = found.identity or ProcessIdentity(0, 0, engine.ports.kernel.host().boot_id)
        await engine.record([ExecStarted(instance.id, instance.container, seen.pid, seen.start_time, seen.boot_id)], job)
    if found.identity is not None:
        engine.spawn(exec_.watch, engine, instance.id, instance.container)
        return
    end, reason = end_of(engine, found, instance.boot_id, lost)
    await engine.record([ExecExited(instance.id, instance.container, end.code, reason)], job)

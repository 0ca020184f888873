"""update: other limits for a container; a running one gets them at once."""

from __future__ import annotations

from docket.domain.confinement.resource_limits import check_resources
from docket.domain.engine import Engine, Job
from docket.domain.errors import KernelError, PortError, Rejected
from docket.domain.model.container import events
from docket.domain.model.container.commands import UpdateContainer
from docket.domain.model.container.spec import Resources, updated
from docket.domain.model.container.state import Container
from docket.domain.plan import cgroup
from docket.domain.plan import operations as op
from docket.domain.plan.devices import block_devices


async def update(engine: Engine, job: Job) -> None:
    """Give the container that the first argument names the limits of ``job.request``; those not asked for stay as they are."""
    asked: Resources = job.request
    container = engine.container(job.arguments[0])
    host = engine.ports.kernel.host()
    wanted = updated(container.spec.resources, asked)
    check_resources(wanted, host)
    cgroup.check(wanted, host)
    decided = await engine.execute(UpdateContainer(container.id, asked), job)
    if isinstance(decided[0], events.ContainerUpdating):
        await apply(engine, job, container)


async def apply(engine: Engine, job: Job, container: Container) -> None:
    """Carry out the open intent of a container, or leave it to the next start when it does not run. Raises `KernelError`."""
    wanted = container.updating
    if wanted is None:
        return
    if container.alive:
        try:
            await _write(engine, container, wanted)
        except (PortError, Rejected) as error:
            await engine.record([events.ContainerUpdateFailed(container.id, str(error))], job)
            raise
    await engine.record([events.ContainerUpdated(container.id, wanted)], job)


async def _write(engine: Engine, container: Container, wanted: Resources) -> None:
    """All of the new limits, or all of the old ones."""
    kernel, path = engine.ports.kernel, container.cgroup
    numbers = await block_devices(kernel, wanted)
    old, new = (cgroup.settings(each, kernel.host(), numbers) for each in (container.spec.resources, wanted))
    try:
        await kernel.configure(container.id, [op.WriteCgroup(path, file, value) for _, file, value in new])
    except KernelError as error:
        # One file may hold limits of several devices: what lifts a limit tells them apart.
        lifted = {(file, none): op.WriteCgroup(path, file, none) for file, none in map(_lifting, new)}
        restored = {**lifted, **{_lifting(each): op.WriteCgroup(path, *each[1:]) for each in old}}
        failures = [await _restore(engine, container, operation) for operation in restored.values()]
        told = "".join(
            f"; and putting back: {failure}" for failure in dict.fromkeys(failures) if failure not in ("", str(error))
        )
        raise KernelError(error.operation, error.syscall, error.errno, error.path, f"{error.reason}{told}") from error


def _lifting(setting: tuple[str, str, str]) -> tuple[str, str]:
    """The file of a limit, and what takes the limit back there."""
    _, file, value = setting
    return file, cgroup.unlimited(file, value)


async def _restore(engine: Engine, container: Container, operation: op.WriteCgroup) -> str:
    """Try one of the old values; what failed, empty when nothing did."""
    try:
        await engine.ports.kernel.configure(container.id, [operation])
    except KernelError as error:
        return str(error)
    return ""

"""attach: hand a client's stream to the container's shim, or keep it until the container starts."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.model.container.state import ContainerStatus


async def attach(engine: Engine, job: Job) -> None:
    """Attach ``job.attachments`` to the container that the first argument names."""
    container = engine.container(job.arguments[0])
    while container.status in {ContainerStatus.STARTING, ContainerStatus.RESTARTING}:
        await engine.changed()
    for attachment in job.attachments:
        if container.alive:
            await engine.ports.kernel.attach(container.id, attachment)
        elif container.status is ContainerStatus.CREATED or container.status is ContainerStatus.EXITED:
            engine.waiting.setdefault(container.id, []).append(attachment)
        else:
            attachment.endpoint.close()

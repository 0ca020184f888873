"""wait: until a container has stopped, stops next, or is removed."""

from __future__ import annotations

from docket.domain.engine import Engine, Job
from docket.domain.errors import InvalidArgument, Rejected

CONDITIONS = ("not-running", "next-exit", "removed")


def check_condition(condition: str) -> None:
    """Raises `Rejected` for what is none of `CONDITIONS`: the API asks before it promises an answer."""
    if condition not in CONDITIONS:
        raise Rejected(InvalidArgument(f'invalid condition: "{condition}"'))


async def wait(engine: Engine, job: Job) -> int:
    """Returns the exit code. ``job.request`` is one of `CONDITIONS`."""
    condition: str = job.request
    check_condition(condition)
    container = engine.container(job.arguments[0])
    if condition == "not-running":
        while container.alive or container.unsettled:
            await engine.changed()
    elif condition == "next-exit":
        run = container.run if container.alive or container.unsettled else container.run + 1
        while container.id in engine.state.containers and (container.run < run or container.alive or container.unsettled):
            await engine.changed()
    else:
        while container.id in engine.state.containers:
            await engine.changed()
    return container.exit_code

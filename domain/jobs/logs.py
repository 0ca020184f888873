"""logs: a container's output in whole lines, and with ``follow`` what it still writes until its process ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec
import trio

from docket.domain.engine import Engine, Job
from docket.domain.errors import Rejected
from docket.domain.model import texts
from docket.domain.model.container.state import Container
from docket.domain.ports import LogEntry


class Logs(msgspec.Struct, frozen=True):
    """``tail`` None: all lines. A time that is 0 is no limit."""

    follow: bool = False
    tail: int | None = None
    until_ns: int = 0


class Lines(msgspec.Struct, frozen=True):
    """The lines, oldest first; `end` has to run beside their reading where a client follows."""

    entries: AsyncGenerator[LogEntry, None]
    container: Container
    run: int
    until: trio.Event | None
    until_ns: int

    async def end(self, engine: Engine) -> None:
        """Tell the reading when the run that is followed has ended, or the time that was asked for is past."""
        assert self.until is not None
        left = max(self.until_ns - engine.ports.clock.now_ns(), 0) / 1e9 if self.until_ns else float("inf")
        with trio.move_on_after(left):
            while self.container.alive and self.container.run == self.run:
                await engine.changed()
        self.until.set()


async def logs(engine: Engine, job: Job) -> Lines:
    """The lines of the container that the first argument names; ``job.request`` is a `Logs`. Raises `Rejected`."""
    request: Logs = job.request
    container = engine.container(job.arguments[0])
    if container.spec.log_driver == "none":
        raise Rejected(texts.no_log_to_read())
    while container.unsettled and container.id in engine.state.containers:
        await engine.changed()
    run = container.run if container.alive else 0
    until = trio.Event() if request.follow and run else None
    path = engine.ports.places.log(container.id)
    entries = engine.ports.outputs.lines(path, run=run, tail=request.tail, until=until)
    return Lines(entries, container, run, until, request.until_ns)

"""Docker's progress stream: JSON objects one after another, which the CLI draws its bars from.

A job is started, and its first step decides what the answer is: an error before it is an ordinary error with its status; afterwards
the status has been sent, and errors are part of the stream. Byte counts that come faster than anybody can read are left out, all
other steps are told. When the client goes away, the job is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import trio

from docket.adapters.api.errors import to_response
from docket.adapters.http import Response, Stream, StreamSender
from docket.domain.engine import Engine, Job
from docket.domain.transferring import Progress, Step

_PAUSE_SECONDS = 0.1
_BAR = 50
_UNITS = ("B", "kB", "MB", "GB", "TB")
_WAITING_STEPS = 100_000


class _Run:
    """A job that tells its steps, as a task of the engine's."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.scope = trio.CancelScope()
        self.failure: Exception | None = None
        self._send, self.steps = trio.open_memory_channel[Step](_WAITING_STEPS)
        self._told: dict[str, float] = {}

    def tell(self, step: Step) -> None:
        """Never waits: of byte counts, one in a while is enough."""
        if step.total and step.current < step.total:
            now = trio.current_time()
            if now - self._told.get(step.id, 0.0) < _PAUSE_SECONDS:
                return
            self._told[step.id] = now
        try:
            self._send.send_nowait(step)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return  # the client reads slower than an image comes, or not at all any more

    async def work(self, job: Job) -> None:
        with self._send, self.scope:
            try:
                await self.engine.run(job)
            except Exception as error:
                self.failure = error


async def progress_stream(engine: Engine, make: Callable[[Progress], Job], quiet: bool = False) -> Response | Stream:
    """Run the job that ``make`` makes with something to tell its steps to, and answer with them. Raises what it raises at once."""
    run = _Run(engine)
    engine.spawn(run.work, make(run.tell))
    try:
        first = await anext(aiter(run.steps), None)
    except trio.Cancelled:
        run.scope.cancel()
        raise
    if first is None and run.failure is not None:
        raise run.failure

    async def write(out: StreamSender) -> None:
        try:
            if first is not None:
                await out.send(encoded(first))
                async for step in run.steps:
                    await out.send(encoded(step))
            if run.failure is not None:
                await out.send(failed(run.failure))
        finally:
            run.scope.cancel()

    return Stream(write)


def failed(error: Exception) -> bytes:
    """The line that ends a stream which went wrong. Raises the error if it is a bug."""
    answer = to_response(error)
    if answer is None:
        raise error
    return _line({"errorDetail": {"message": str(error)}, "error": str(error)})


def encoded(step: Step) -> bytes:
    """One line of the stream."""
    if step.digest:
        return _line({"progressDetail": {}, "aux": {"Tag": step.tag, "Digest": step.digest, "Size": step.size}})
    if step.stream:
        return _line({"stream": step.status + "\n"})
    message: dict[str, Any] = {"status": step.status}
    if step.moves:
        message["progressDetail"] = {"current": step.current, "total": step.total} if step.total else {}
    if step.total:
        message["progress"] = bar(step.current, step.total)
    if step.id:
        message["id"] = step.id
    return _line(message)


def _line(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\r\n"


def bar(current: int, total: int) -> str:
    """As Docker's engine draws it, for clients that do not."""
    done = min(current, total) * _BAR // total
    drawn = "=" * done + (">" if done < _BAR else "") + " " * max(_BAR - done - 1, 0)
    return f"[{drawn}] {_size(current):>8}/{_size(total)}"


def _size(count: int) -> str:
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.4g}{_UNITS[unit]}"

"""Runs trio so that nothing but the seed decides: the scheduler's dice are seeded, and time is the mock clock's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio._core._run as scheduler
import trio.testing

T = TypeVar("T")


async def _at_once(function: Callable[..., T], *arguments: Any) -> T:
    """In place of a worker thread, which would come back at a time of its own."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


def run(seed: int, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """``trio.run`` with a seeded scheduler and a clock that jumps whenever everybody waits."""
    internals: Any = scheduler
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r.getstate()
    in_thread, trio.to_thread.run_sync = trio.to_thread.run_sync, _at_once  # type: ignore[assignment]
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r.seed(seed)
    try:
        return trio.run(function, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        trio.to_thread.run_sync = in_thread
        internals._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        internals._r.setstate(before[1])

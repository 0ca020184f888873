"""Runs trio so that nothing but the seed decides: the scheduler's dice are seeded, and time is the mock clock's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio._core._run as scheduler
import trio.testing

T = TypeVar("T")


def run(seed: int, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """``trio.run`` with a seeded scheduler and a clock that jumps whenever everybody waits."""
    internals: Any = scheduler
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r.getstate()
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r.seed(seed)
    try:
        return trio.run(function, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        internals._r.setstate(before[1])

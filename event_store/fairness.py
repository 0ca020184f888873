"""Lets the writing thread have the interpreter while trio's thread is busy.

CPython gives its lock (the GIL) to a thread that waits only when the wait has lasted a whole switch interval without the lock
having been free in between. A busy trio loop frees it for a microsecond in every pass, when it polls for I/O: too short for the
waiting thread to wake up, yet enough to restart its interval. Measured on two cores with three tasks that compute 0.1 ms each
between checkpoints: an append that takes 0.4 ms otherwise took up to six seconds, whatever the switch interval was.

So while the writer has work, a busy loop stands aside for a moment about once a millisecond. An idle loop blocks in its poll
and frees the lock anyway; it never pauses here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

_PAUSE_SECONDS = 50e-6  # becomes about 0.1 ms with the kernel's timer slack: enough for a thread to wake up
_EVERY_SECONDS = 1e-3  # so a loop that is always busy loses a tenth of its time at the most, while something is written


class StandAside(trio.abc.Instrument):
    """Pauses a busy loop while ``wanted()`` is true; call it in trio's thread only."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted
        self._next = 0.0

    def before_io_wait(self, timeout: float) -> None:
        """Called by trio before each poll; the time-out is zero when there are tasks to run."""
        if timeout <= 0 and self._wanted():
            now = time.perf_counter()
            if now >= self._next:
                time.sleep(_PAUSE_SECONDS)
                self._next = now + _EVERY_SECONDS

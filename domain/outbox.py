"""Facts that the disk refused, kept until it takes them.

What has happened cannot be refused: a process that ended has ended, whether the log's disk is full or not. So a fact whose append
failed waits here, first in, first out, and the append is tried again, sooner when somebody asks for something and a few seconds
apart otherwise. Until then nothing is decided: a decision would be taken on a state in which the facts are missing.

A crash meanwhile loses nothing either: the intents are in the log, and recovery asks the kernel what became of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import trio

from docket.domain.errors import StoreFailed
from docket.domain.log import Event
from docket.domain.ports import Reporter

if TYPE_CHECKING:
    from docket.domain.engine import Job

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0

Append = Callable[[Sequence[Event], "Job"], Awaitable[None]]


class Fact:
    """Events of one job that wait for the disk."""

    def __init__(self, events: Sequence[Event], job: Job) -> None:
        self.events = events
        self.job = job
        self.durable = trio.Event()


class Outbox:
    """The facts that wait. ``start`` starts the work on them when there are some; it ends when there are none left.

    ``append`` raises `StoreFailed`. ``lost`` gives the outcomes of jobs whose notes the disk refused, for which nobody waits.
    ``refused`` is called each time the disk refused again.
    """

    def __init__(
        self,
        append: Append,
        start: Callable[[Callable[[], Awaitable[None]]], None],
        lost: Callable[[], tuple[Sequence[Event], Job] | None],
        refused: Callable[[], None],
        report: Reporter,
    ) -> None:
        self._append = append
        self._refused = refused
        self._start = start
        self._lost = lost
        self._report = report
        self._facts: deque[Fact] = deque()
        self._running = False
        self._poke = trio.Event()
        self._round = trio.Event()
        self._failure: StoreFailed | None = None

    def check(self) -> None:
        """Raises `StoreFailed` while facts wait that the disk refused."""
        if self._facts and self._failure is not None:
            raise StoreFailed(str(self._failure)) from self._failure

    @property
    def pending(self) -> bool:
        """Whether facts wait."""
        return bool(self._facts)

    def keep(self, events: Sequence[Event], job: Job) -> Fact:
        """Let a fact wait for the disk."""
        fact = Fact(events, job)
        self._facts.append(fact)
        self.wake()
        return fact

    def wake(self) -> None:
        """See to it that what waits is tried again."""
        if not self._running:
            self._running = True
            self._start(self._run)

    async def flush(self) -> None:
        """Try now; returns when nothing waits any more. Raises `StoreFailed` when the disk refuses still."""
        while self._facts:
            self.wake()
            self._poke.set()
            await self._round.wait()
            if self._failure is not None:
                raise StoreFailed(str(self._failure)) from self._failure

    async def _run(self) -> None:
        """Append what waits, in order, until nothing is left."""
        pause = _FIRST_PAUSE_SECONDS
        try:
            while self._facts or self._take_lost():
                self._failure = await self._try()
                done, self._round = self._round, trio.Event()
                done.set()
                if self._failure is None:
                    continue
                self._refused()
                if pause == _FIRST_PAUSE_SECONDS:
                    self._report("error", "event log refuses outcomes, they are kept and tried again", error=self._failure)
                with trio.move_on_after(pause):
                    await self._poke.wait()
                self._poke = trio.Event()
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        finally:
            self._running = False
        if pause > _FIRST_PAUSE_SECONDS:
            self._report("info", "event log takes events again, nothing was lost")

    async def _try(self) -> StoreFailed | None:
        try:
            while self._facts:
                await self._append(self._facts[0].events, self._facts[0].job)
                self._facts.popleft().durable.set()
        except StoreFailed as error:
            return error
        return None

    def _take_lost(self) -> bool:
        lost = self._lost()
        if lost is None:
            return False
        self._facts.append(Fact(*lost))
        return True

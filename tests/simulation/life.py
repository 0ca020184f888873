"""One life of an engine: from its start to its end or to the crash point that kills it.

Everything the engine asks of the outside passes a point. A dry run lists them; a crash is one of them, by its number. Once a life
is over every port refuses (`Killed`) and nothing has an effect any more, whatever ``finally`` and ``except`` do while the tasks
unwind: that is what os._exit means.

    submit EVENT        before the batch reaches the store
    submitted EVENT     it is on its way to the disk, and may or may not get there
    durable EVENT       it is on disk, and nobody was told
    call NAME           before a call of the kernel or of another port
    did NAME            the effect has happened, its result was not seen
    op NAME             before an operation of a plan: the engine dies, the shim goes on
    shim NAME           before an operation of a plan: engine and shim die
    done NAME           after an operation of a plan
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import trio


class Killed(BaseException):
    """The engine is dead; whoever still runs in it has no effect."""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """Where a life can end: ``when`` is one of the words above, ``what`` the event, call or operation."""

    when: str
    what: str

    def __str__(self) -> str:
        return f"{self.when} {self.what}"


class Life:
    """Counts the points that are passed, and ends at the one that was chosen."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.crash_at = crash_at
        self.points: list[Point] = []
        self.dead = False
        self.scope = trio.CancelScope()
        self._waits: set[trio.CancelScope] = set()

    @contextmanager
    def wait(self) -> Iterator[None]:
        """A wait for the outside, which ends with the life even where it is shielded: a dead process waits for nothing."""
        self.check()
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)
        self.check()

    def passes(self, when: str, what: str) -> bool:
        """Pass a point; True when it was the last one."""
        if self.dead:
            return False
        self.points.append(Point(when, what))
        if self.crash_at is None or len(self.points) - 1 != self.crash_at:
            return False
        self.end()
        return True

    def point(self, when: str, what: str) -> None:
        """Pass a point. Raises `Killed` when the engine dies there, or has died before."""
        self.passes(when, what)
        self.check()

    def check(self) -> None:
        """Raises `Killed` in a life that is over."""
        if self.dead:
            raise Killed

    def end(self) -> None:
        """From now on nothing that the engine does has an effect."""
        self.dead = True
        self.scope.cancel()
        for scope in self._waits:
            scope.cancel()

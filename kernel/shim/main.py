"""A shim's process: one container's first process and its execs, each with a keeper, served by one loop.

    launcher ─fork─► run(control, request)
                       ├─ Keeper                   of the container's first process
                       ├─ "launch" from the daemon a Keeper more, for an exec in that container
                       └─ loop                     until no keeper has anything left to do

`docket.kernel.shim.keeper` has the messages. An exec costs one fork this way, and no shim of its own: what the loop does between
two waits must therefore never wait itself, or the container's output would wait with it.
"""

from __future__ import annotations

import _signal
import _socket
import os
import select
from collections.abc import Callable
from time import monotonic
from typing import Any

from docket.domain.compact_json import dumps, loads
from docket.kernel.linux import abi, syscalls
from docket.kernel.shim import endpoints
from docket.kernel.shim.keeper import Keeper


def run(control: int, request_fd: int) -> None:
    """Be the shim of the request in the memfd ``request_fd``; returns when there is nothing left to do.

    Its standard streams are nobody's: it outlives the daemon, and who reads the daemon's output must see that end. What goes wrong
    here is told to the daemon instead, and raised.
    """
    os.setsid()
    endpoints.leave_standard_streams()
    syscalls.prctl(abi.PR_SET_DUMPABLE, 0)
    syscalls.prctl(abi.PR_SET_CHILD_SUBREAPER, 1)
    Shim().live(_socket.socket(fileno=control), loads(endpoints.read_all(request_fd)))


class Shim:
    """The loop: who is called when a descriptor is ready, and which keepers there are."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, _Watch] = {}
        self._keepers: list[Keeper] = []

    def live(self, control: _socket.socket, request: dict[str, Any]) -> None:
        """Keep the process of ``request`` and whatever is launched beside it, to the end. What breaks the first one is raised."""
        first: Keeper | None = None
        try:
            first = Keeper(self, control, request)
            self._keepers.append(first)
            # The loop's deadline is for the new process; this one for operations of the plan that are the shim's own.
            _signal.setitimer(_signal.ITIMER_REAL, Keeper.BIRTH_SECONDS)
            first.begin()
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            while self._keepers:
                self._turn(first)
        except BaseException as error:
            told = {"broken": f"{type(error).__name__}: {error}"}
            first.tell(told) if first is not None else control.send(dumps(told).encode())
            raise
        finally:
            self._epoll.close()

    def keep(self, control: _socket.socket, request_fd: int) -> None:
        """Launch one more process, beside those that are kept. It may fail, or break, without harm to them."""
        keeper: Keeper | None = None
        try:
            keeper = Keeper(self, control, loads(endpoints.read_all(request_fd)))
            self._keepers.append(keeper)
            keeper.begin()
        except Exception as error:
            if keeper is not None:
                self._break(keeper, error)
            else:
                control.send(dumps({"broken": f"{type(error).__name__}: {error}"}).encode())
                control.close()

    def watch(self, keeper: Keeper, descriptor: int, mask: int, handler: Callable[[int], None]) -> None:
        """Have ``handler`` called with what epoll says of a descriptor, from now on for these events (epoll_ctl(2))."""
        known = self._watched.get(descriptor)
        if known is None:
            self._epoll.register(descriptor, mask)
            self._watched[descriptor] = _Watch(keeper, handler, mask)
        elif known.mask != mask:
            self._epoll.modify(descriptor, mask)
            known.mask = mask

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor, before it is closed: a fork may hold a copy, and then closing does not tell epoll."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def reap_adopted(self) -> None:
        """Bury what was orphaned here and belongs to no keeper: in the host's pid namespace a shim is the reaper (prctl(2))."""
        mine = [keeper.pid for keeper in self._keepers]
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None or dead.si_pid in mine:
                return
            os.waitpid(dead.si_pid, 0)

    def _turn(self, first: Keeper) -> None:
        """Wait, call whom it concerns, let each keeper see what has changed, and let those go that are done."""
        if not any(keeper.finished for keeper in self._keepers):
            # A number may be closed and used again between two handlers of one turn: its event is not the new one's.
            ready = [
                (descriptor, mask, self._watched.get(descriptor)) for descriptor, mask in self._epoll.poll(self._patience())
            ]
            for descriptor, mask, watch in ready:
                if watch is not None and self._watched.get(descriptor) is watch:
                    self._call(first, watch.keeper, watch.handler, mask)
        for keeper in list(self._keepers):
            self._call(first, keeper, keeper.balance)
        for keeper in [keeper for keeper in self._keepers if keeper.finished]:
            self._keepers.remove(keeper)
            keeper.end()

    def _call(self, first: Keeper, keeper: Keeper, action: Callable[..., None], *arguments: int) -> None:
        """What fails for one keeper breaks that one, and the whole shim only when it is the first."""
        try:
            action(*arguments)
        except Exception as error:
            if keeper is first:
                raise
            self._break(keeper, error)

    def _patience(self) -> float | None:
        deadlines = [keeper.deadline for keeper in self._keepers if keeper.deadline]
        return max(0.0, min(deadlines) - monotonic()) if deadlines else None

    def _break(self, keeper: Keeper, error: Exception) -> None:
        keeper.tell({"broken": f"{type(error).__name__}: {error}"})
        self._keepers.remove(keeper)
        keeper.abandon()


class _Watch:
    """Whose descriptor it is, who is called, and for which events."""

    __slots__ = ("handler", "keeper", "mask")

    def __init__(self, keeper: Keeper, handler: Callable[[int], None], mask: int) -> None:
        self.keeper = keeper
        self.handler = handler
        self.mask = mask

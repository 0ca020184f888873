"""A page of memory that engine, launcher, shims and new processes share: it counts points and says where the engine is to die.

Only the standard library: the launcher has nothing else. The runner, which is the engine's parent, does the killing, since a
process in a container knows the engine by no pid; whoever asks for it waits until it is done.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import struct

SIZE = 1 << 20
_CRASH_AT, _COUNTER, _REQUEST, _SHIM, _DONE, _LENGTH, _LIFE = range(0, 56, 8)
_TEXT = 64
NONE, ENGINE, ENGINE_AND_SHIM = 0, 1, 2
_KINDS = 4


class Page:
    """The page behind a memfd."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SIZE)

    def _get(self, offset: int) -> int:
        value: int = struct.unpack_from("q", self._memory, offset)[0]
        return value

    def _set(self, offset: int, value: int) -> None:
        struct.pack_into("q", self._memory, offset, value)

    # The runner's side.

    def reset(self, crash_at: int | None) -> None:
        """Begin a life that ends at a point, or by itself."""
        for offset in (_COUNTER, _REQUEST, _SHIM, _LENGTH):
            self._set(offset, 0)
        self._set(_LIFE, self._get(_LIFE) + 1)
        self._set(_CRASH_AT, -1 if crash_at is None else crash_at)

    @property
    def request(self) -> int:
        """Who is to be killed in this life; what a process of an earlier one asked for is void."""
        life, kind = divmod(self._get(_REQUEST), _KINDS)
        return kind if life == self._get(_LIFE) else NONE

    @property
    def shim(self) -> int:
        """The shim that performs a plan."""
        return self._get(_SHIM)

    def done(self) -> None:
        """They are dead."""
        self._set(_DONE, self._get(_LIFE))

    def points(self) -> list[tuple[str, str]]:
        """What was passed, as ``(when, what)``."""
        text = self._memory[_TEXT : _TEXT + self._get(_LENGTH)].decode()
        return [(when, what) for when, _, what in (line.partition(" ") for line in text.splitlines())]

    # The side of those who pass points.

    def passes(self, when: str, what: str) -> bool:
        """Count a point; True when it is the one."""
        number = self._get(_COUNTER)
        self._set(_COUNTER, number + 1)
        line, length = f"{when} {what}\n".encode(), self._get(_LENGTH)
        if _TEXT + length + len(line) <= SIZE:
            self._memory[_TEXT + length : _TEXT + length + len(line)] = line
            self._set(_LENGTH, length + len(line))
        return number == self._get(_CRASH_AT)

    def in_engine(self, when: str, what: str) -> None:
        """A point of the engine's own: it dies as if it had been killed by somebody else."""
        if self.passes(when, what):
            os.kill(os.getpid(), signal.SIGKILL)

    def begins(self) -> None:
        """The calling process is the shim that performs a plan."""
        self._set(_SHIM, os.getpid())

    def in_shim(self, when: str, what: str) -> None:
        """A point of a shim or a new process: have the engine, or both, killed, and wait for it."""
        life = self._get(_LIFE)
        if not self.passes(when, what):
            return
        self._set(_REQUEST, life * _KINDS + (ENGINE_AND_SHIM if when == "shim" else ENGINE))
        while self._get(_DONE) < life == self._get(_LIFE):
            select.select((), (), (), 0.001)

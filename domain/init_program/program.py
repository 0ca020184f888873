"""The init itself: process 1 of a container with ``--init``, with the semantics of tini (docker-init).

    docker-init PATH ARG0 [ARG…]

It runs PATH with the arguments that follow it as a child in a process group of its own, which has the terminal if there is one.
It sends the child every signal that it gets, reaps whatever ends, and exits with the child's status, or 128 and the signal that
killed it. It makes twelve system calls and no other, opens nothing, allocates nothing, and has no writable memory but its stack.

A signal without a handler never reaches the first process of a pid namespace; one that is blocked waits to be fetched, which is
how it is got hold of without a handler (pid_namespaces(7), sigwaitinfo(2)).
"""

from __future__ import annotations

from functools import lru_cache

from docket.domain.init_program.aarch64 import Aarch64
from docket.domain.init_program.assembler import CHILD, ENVIRONMENT, RESULT, SIGNAL, STACK, Label, Machine, Scratch, elf
from docket.domain.init_program.x86_64 import X86

_MACHINES: dict[str, type[Machine]] = {"x86_64": X86, "aarch64": Aarch64}

# Scratch memory.
_WAITED, _BEFORE, _STATUS, _PID = Scratch(0), Scratch(8), Scratch(16), Scratch(24)
_SCRATCH = 32

_SIG_SETMASK, _WNOHANG, _TIOCSPGRP, _PR_SET_NAME = 2, 1, 0x5410, 15
_SIGCHLD = 17
_SYNCHRONOUS = (4, 5, 6, 7, 8, 11, 31)
"""ILL TRAP ABRT BUS FPE SEGV SYS: of an error in the init itself, which must not be waited for."""
_ALL_OTHERS = (1 << 64) - 1 & ~sum(1 << number - 1 for number in _SYNCHRONOUS)
_ENOENT = 2
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_NAME = b"docker-init\0"
_MESSAGE = b"docker-init: the command cannot be executed\n"


@lru_cache(maxsize=2)
def init_program(architecture: str) -> bytes:
    """The init as an executable file; empty for an architecture that it is not written for."""
    if architecture not in _MACHINES:
        return b""
    machine = _MACHINES[architecture]()
    _begin(machine)
    _child(machine)
    _wait(machine)
    _end(machine)
    machine.data("name", _NAME)
    machine.data("message", _MESSAGE)
    return elf(machine.elf_machine, machine.finish())


def _begin(to: Machine) -> None:
    """argc is at the stack's top, then argv and a null, then the environment."""
    to.begin(_SCRATCH)
    to.load(RESULT, STACK, 0)
    to.add_words(ENVIRONMENT, STACK, RESULT)
    to.add(ENVIRONMENT, 16)
    to.call("prctl", _PR_SET_NAME, Label("name"), 0, 0, 0)
    to.store_scratch(_WAITED.offset, _ALL_OTHERS)
    to.call("rt_sigprocmask", _SIG_SETMASK, _WAITED, _BEFORE, 8)
    to.call("clone", _SIGCHLD, 0, 0, 0, 0)
    to.move(CHILD, RESULT)
    to.jump_if("eq", CHILD, 0, "child")
    to.jump_if("lt", CHILD, 0, "refused")
    to.jump("wait")


def _child(to: Machine) -> None:
    """TIOCSPGRP of a process in the background needs SIGTTOU blocked, which it is; without a terminal it fails, and may."""
    to.label("child")
    to.call("setpgid", 0, 0)
    to.call("getpid")
    to.store_scratch(_PID.offset, RESULT)
    to.call("ioctl", 0, _TIOCSPGRP, _PID)
    to.call("rt_sigprocmask", _SIG_SETMASK, _BEFORE, 0, 8)
    to.move(CHILD, STACK)
    to.add(CHILD, 24)
    to.load(SIGNAL, STACK, 16)
    to.call("execve", SIGNAL, CHILD, ENVIRONMENT)
    to.move(CHILD, RESULT)
    to.call("write", 2, Label("message"), len(_MESSAGE))
    to.jump_if("eq", CHILD, -_ENOENT, "missing")
    to.label("refused")
    to.call("exit_group", _NOT_EXECUTABLE)
    to.label("missing")
    to.call("exit_group", _NOT_FOUND)


def _wait(to: Machine) -> None:
    """Fetch a signal, and hand it on or reap."""
    to.label("wait")
    to.call("rt_sigtimedwait", _WAITED, 0, 0, 8)
    to.jump_if("le", RESULT, 0, "wait")
    to.jump_if("eq", RESULT, _SIGCHLD, "reap")
    to.move(SIGNAL, RESULT)
    to.call("kill", CHILD, SIGNAL)
    to.jump("wait")
    to.label("reap")
    to.call("wait4", -1 & (1 << 64) - 1, _STATUS, _WNOHANG, 0)
    to.jump_if("le", RESULT, 0, "wait")
    to.jump_if("ne", RESULT, CHILD, "reap")


def _end(to: Machine) -> None:
    """The child has ended: wait(2)'s status has the signal in its low bits, else the exit status above them."""
    to.load_scratch(SIGNAL, _STATUS.offset)
    to.move(RESULT, SIGNAL)
    to.mask(RESULT, 0x7F)
    to.jump_if("ne", RESULT, 0, "killed")
    to.shift_right(SIGNAL, 8)
    to.mask(SIGNAL, 0xFF)
    to.call("exit_group", SIGNAL)
    to.label("killed")
    to.add(RESULT, 128)
    to.move(SIGNAL, RESULT)
    to.call("exit_group", SIGNAL)

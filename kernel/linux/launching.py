"""Starting the launcher, and handing launches to it."""

from __future__ import annotations

import array
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import docket
from docket.kernel.linux.sealed import interpreter_path, sealed_interpreter

_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from docket.kernel.launcher.main import main; main(int(sys.argv[2]))"


class Launcher:
    """The launcher process, from the daemon's side. Start it before the first thread."""

    def __init__(self) -> None:
        self._spawn()

    def _spawn(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        executable = sealed_interpreter()
        package = os.path.dirname(os.path.dirname(os.path.abspath(docket.__file__)))
        arguments = [interpreter_path(), "-I", "-S", "-c", _PROGRAM, package, str(theirs.fileno())]
        os.set_inheritable(theirs.fileno(), True)
        try:
            self.pid = os.posix_spawn(
                f"/proc/self/fd/{executable}",
                arguments,
                {"LC_ALL": "C.UTF-8"},
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
                setsigmask=[],
                setpgroup=0,
            )
        finally:
            theirs.close()
            os.close(executable)

    def rehearse(self, directory: str) -> None:
        """Have it do what makes every later start cheaper, in a directory that nothing else uses; does not wait."""
        self._channel.send(os.fsencode(directory))

    def launch(self, control: socket.socket, request: bytes) -> None:
        """Have a shim forked that is asked by ``control`` and reads ``request``. A launcher that has died is replaced.

        Raises `OSError`.
        """
        with rights_of(control, request) as rights:
            try:
                self._channel.sendmsg([b"launch"], rights)
            except (BrokenPipeError, ConnectionResetError):
                self.close()
                self._spawn()
                self._channel.sendmsg([b"launch"], rights)

    def close(self) -> None:
        """Let the launcher end, and reap it. Shims live on. Calling it twice is fine."""
        self._channel.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0


@contextmanager
def rights_of(control: socket.socket, request: bytes) -> Iterator[list[tuple[int, int, bytes | array.array[int]]]]:
    """What a launch is sent with, for `socket.sendmsg`: the control socket, and a memfd with the request. Raises `OSError`."""
    memory = os.memfd_create("docket-launch", os.MFD_CLOEXEC)
    try:
        os.write(memory, request)
        yield [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [control.fileno(), memory]))]
    finally:
        os.close(memory)

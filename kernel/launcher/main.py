"""The launcher: small, warm and single-threaded, so that starting a container costs a fork and not an interpreter.

    daemon ──seqpacket──► launcher          one message a launch, with two descriptors:
                             └─ fork ─► shim      the shim's control socket, and a memfd with the request

A message without descriptors names the directory of a rehearsal (`docket.kernel.launcher.rehearsal`).

The daemon starts it before it has any thread, from a sealed copy of the interpreter (S1), and it ends when the daemon's end of
the socket closes. Shims are not its business once forked: the kernel reaps them, and they outlive it.
"""

from __future__ import annotations

import _signal
import _socket
import array
import gc
import os
import sys

from docket.kernel.launcher.rehearsal import rehearse
from docket.kernel.linux import abi, syscalls
from docket.kernel.shim import main as shim

_SCM_RIGHTS = 1
_SOL_SOCKET = 1


def main(descriptor: int) -> None:
    """Serve launches from the socket with this descriptor until the daemon is gone."""
    channel = _socket.socket(fileno=descriptor)
    syscalls.prctl(abi.PR_SET_DUMPABLE, 0)
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _come_to_rest()
    while True:
        message, ancillary, _, _ = channel.recvmsg(4096, 256)
        if not message:
            return
        if not ancillary:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            _rehearse(message.decode("utf-8", "surrogateescape"))
            _come_to_rest()
            continue
        control, request = _descriptors(ancillary)
        if os.fork() == 0:
            _become_shim(channel, control, request)
        os.close(control)
        os.close(request)


def _rehearse(directory: str) -> None:
    """A rehearsal that fails costs time and memory later, but no container."""
    try:
        rehearse(directory)
    except Exception as error:
        sys.stderr.write(f"docket launcher: rehearsal failed: {type(error).__name__}: {error}\n")
        sys.stderr.flush()


def _come_to_rest() -> None:
    """From here on the kernel reaps the shims, and the collector leaves alone what they share."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    gc.collect()
    gc.disable()
    gc.freeze()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    received = array.array("i")
    for level, kind, data in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            received.frombytes(data)
    return received[0], received[1]


def _become_shim(channel: _socket.socket, control: int, request: int) -> None:
    """Never returns: whatever happens, a shim must not go on as a second launcher. What that was, it has told the daemon."""
    status = 1
    try:
        os.close(channel.detach())
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        shim.run(control, request)
        status = 0
    finally:
        os._exit(status)

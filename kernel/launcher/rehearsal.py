"""Runs the shim's code a few times before the first container needs it.

CPython does much of its work lazily: it specialises bytecode after eight calls, gives types their versions, resolves C symbols
at their first use. What the launcher has done already, its forks share as memory pages; what it has not, each shim and each new
process does again, on pages of its own. Measured: a tenth of a start's CPU time and a fifth of a shim's memory.
"""

from __future__ import annotations

import _socket
import os
from typing import Any

from docket.domain.compact_json import dumps, loads
from docket.kernel.linux.context import Context
from docket.kernel.linux.host import start_time_of
from docket.kernel.linux.interpreter import perform
from docket.kernel.linux.syscalls import SyscallError
from docket.kernel.shim.endpoints import SOCKET_NAME
from docket.kernel.shim.main import Shim

_TIMES = 12
_SOL_SOCKET = 1
_SCM_RIGHTS = 1
# The interpreter itself: it tells its version and ends before it has read a file.
_PROGRAM = ["/proc/self/exe", "-V"]
# What a new process does, but performed here: it changes nothing, or the kernel refuses it for lack of a root.
_HARMLESS: tuple[list[Any], ...] = (
    ["SetDumpable", 0],
    ["Unshare", []],
    ["DropBounding", -1],
    ["MakeDirectoryInRoot", "/rehearsal", 0o755],
)


def rehearse(directory: str) -> None:
    """Perform a plan without consequences in ``directory``, which is made for it and removed; children are reaped here.

    What an interrupted rehearsal left in the directory is removed too. Raises `OSError` when not even this much works.
    """
    _clear(directory)
    os.mkdir(directory, 0o700)
    try:
        for _ in range(_TIMES):
            _live(directory)
            _perform_here()
    finally:
        _clear(directory)


def _clear(directory: str) -> None:
    for remove, name in ((os.unlink, "exit"), (os.unlink, "log"), (os.unlink, SOCKET_NAME), (os.rmdir, "made"), (os.rmdir, "")):
        try:
            remove(f"{directory}/{name}")
        except FileNotFoundError:
            continue


def _request(directory: str) -> dict[str, Any]:
    made = f"{directory}/made"
    return {
        "plan": {
            "prepare": [["MakeDirectory", made, 0o700, False, False, 0, 0]],
            "process": ["Clone", [], ""],
            "settle": [],
            "inside": [["Umask", 0o22], ["Execve", _PROGRAM, ""]],
        },
        "undo": [["RemoveDirectory", made]],
        "directory": directory,
        "exit_file": f"{directory}/exit",
        "environment": ["PATH=/", "HOME=/"],
        "arguments": [],
        "terminal": False,
        "stdin": True,
        "stdin_once": True,
        "log": {"path": f"{directory}/log", "max_bytes": 1 << 20, "files": 1},
        "inode": None,
        "run": 1,
        "cgroup": "",
        "attachments": 1,
    }


def _live(directory: str) -> None:
    daemon, control = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    client, attached = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    settings = {
        "stdin": True,
        "stdout": True,
        "stderr": True,
        "multiplexed": True,
        "detach_keys": "",
        "early": "",
        "past_after": None,
    }
    rights = [(_SOL_SOCKET, _SCM_RIGHTS, attached.detach().to_bytes(4, "little"))]
    daemon.sendmsg([dumps({"attach": settings}).encode()], rights)
    os.close(int.from_bytes(rights[0][2], "little"))
    client.shutdown(_socket.SHUT_WR)
    daemon.send(b'{"release":true}')
    Shim().live(control, loads(dumps(_request(directory))))
    daemon.close()
    client.close()


def _perform_here() -> None:
    context = Context([], [])
    pid = os.getpid()
    for operation in (*_HARMLESS, ["JoinNamespaces", pid, start_time_of(pid), ["uts"]]):
        try:
            perform(context, operation)
        except SyscallError:
            continue
    for pidfd in context.pidfds.values():
        os.close(pidfd)

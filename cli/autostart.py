"""Starts an engine when a command finds none on the default socket and none was named.

The engine gets a session of its own, its working directory is `/`, and it writes to `<exec root>/daemon.log`. Two commands that
start one at the same time are no problem: the store lets only one engine have a data root, and both commands find that one.

This is the client's side: it imports nothing of the engine.
"""

from __future__ import annotations

import _socket
import os
import sys
import time

from docket.cli.errors import ConnectError
from docket.cli.sanitise import printable

_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.01
_ENGINE = "from docket.cli.main import main; main()"


def autostart(socket_path: str, command: list[str] | None = None) -> None:
    """Starts an engine and returns when its socket answers; raises ConnectError with the reason when it ends instead.

    `command` is the engine's argument vector, this program's own `daemon` when None.
    """
    argv = command or [sys.executable, "-c", _ENGINE, "daemon", "--host", f"unix://{socket_path}"]
    directory = os.path.dirname(socket_path)
    log_path = f"{directory}/daemon.log"
    os.makedirs(directory, mode=0o711, exist_ok=True)
    pid = _spawn(argv, log_path)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    ended = False
    while not _answers(socket_path):
        if not ended and os.waitpid(pid, os.WNOHANG)[0]:
            # It may have found another engine that is starting: that one's socket is then worth a moment.
            ended = True
            deadline = min(deadline, time.monotonic() + 2.0)
        if time.monotonic() > deadline:
            what = "ended" if ended else f"did not answer within {_PATIENCE_SECONDS:.0f} seconds"
            raise ConnectError(f"docket: the docket daemon {what}: {_last_words(log_path)}")
        time.sleep(_PAUSE_SECONDS)


def _spawn(argv: list[str], log_path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir("/")  # an engine must not keep the user's directory busy
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log_path, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    finally:
        os.fchdir(here)
        os.close(here)


def _answers(path: str) -> bool:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        return False
    finally:
        sock.close()
    return True


def _last_words(log_path: str) -> str:
    """The last line that the engine wrote, which is its reason."""
    try:
        with open(log_path, "rb") as log:
            log.seek(max(0, os.path.getsize(log_path) - 4096))
            lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return printable(lines[-1].strip()) if lines else f"it gave no reason; see {log_path}"

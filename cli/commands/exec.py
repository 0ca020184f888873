"""`docket exec`: another process in a running container, and its exit code."""

from __future__ import annotations

from docket.cli.client import quote
from docket.cli.create_body import environment
from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    from docket.cli.session import require_terminal

    client = context.client()
    container, *command = options.args
    attached = not options["detach"]
    tty, interactive = options["tty"], options["interactive"] and attached
    require_terminal(tty, interactive)
    body: dict[str, Any] = {
        "User": options["user"],
        "Privileged": options["privileged"],
        "Tty": tty,
        "AttachStdin": interactive,
        "AttachStderr": attached,
        "AttachStdout": attached,
        "Detach": not attached,
        "DetachKeys": options["detach-keys"],
        "Env": environment(options["env-file"], options["env"]) or None,
        "WorkingDir": options["workdir"],
        "Cmd": command,
    }
    size = _console_size() if tty else None
    if size:
        body["ConsoleSize"] = size
    identifier = client.value("POST", f"/containers/{quote(container)}/exec", (), body)["Id"]
    start: dict[str, Any] = {"Detach": not attached, "Tty": tty}
    if size:
        start["ConsoleSize"] = size
    if not attached:
        client.request("POST", f"/exec/{identifier}/start", (), start).read()
        return 0
    return _attached(context, options, f"/exec/{identifier}", start, interactive)


def _console_size() -> list[int] | None:
    from docket.cli.terminal import size

    rows, columns = size()
    return [rows, columns] if rows or columns else None


def _attached(context: Context, options: Options, path: str, start: dict[str, Any], interactive: bool) -> int:
    from contextlib import ExitStack

    from docket.cli.session import Session, Signals, resizer
    from docket.cli.terminal import DEFAULT_DETACH_KEYS, Terminal, parse_detach_keys

    client, tty = context.client(), options["tty"]
    keys = parse_detach_keys(options["detach-keys"] or DEFAULT_DETACH_KEYS)
    resize = resizer(client, path) if tty else None
    with ExitStack() as cleanup:
        # An exec is not told of signals: Docker's API has no way to, and the user's interrupt ends this program alone.
        signals = cleanup.enter_context(Signals(None, resize))
        transport, early, _ = client.hijack(f"{path}/start", (), start)
        if tty and interactive:
            cleanup.enter_context(Terminal())
        if resize:
            resize()
        if not Session(transport, early, tty, interactive, keys).copy(signals):
            return 0
    return int(client.value("GET", f"{path}/json").get("ExitCode") or 0) & 0xFF


EXEC = Command(
    "docket exec", "Run a command in a running container",
    (
        ("detach", "d", "bool", False, "Run in the background"),
        ("detach-keys", "", "string", "", "Keys that detach from a terminal"),
        ("env", "e", "env", (), "Set an environment variable"),
        ("env-file", "", "list", (), "Read environment variables from a file"),
        ("interactive", "i", "bool", False, "Keep standard input open"),
        ("privileged", "", "bool", False, "Give all privileges"),
        ("tty", "t", "bool", False, "Give the process a terminal"),
        ("user", "u", "string", "", "User, as name or id, and group after a colon"),
        ("workdir", "w", "string", "", "Working directory"),
    ),
    _handle, "CONTAINER COMMAND [ARG...]", 2, -1, interspersed=False, aliases=("docket container exec", "docket exec"),
)  # fmt: skip

"""`docket attach`: the terminal's streams on a container that runs already."""

from __future__ import annotations

from docket.cli.client import quote
from docket.cli.errors import CliError
from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    from contextlib import ExitStack

    from docket.cli.commands.run import exit_code
    from docket.cli.session import Session, Signals, await_answer, killer, require_terminal, resizer
    from docket.cli.terminal import DEFAULT_DETACH_KEYS, Terminal, parse_detach_keys

    client = context.client()
    details = client.value("GET", f"/containers/{quote(options.args[0])}/json")
    _check_state(details["State"])
    path, tty = f"/containers/{details['Id']}", bool(details["Config"]["Tty"])
    interactive = not options["no-stdin"] and bool(details["Config"]["OpenStdin"])
    require_terminal(tty, interactive)
    keys = parse_detach_keys(options["detach-keys"] or DEFAULT_DETACH_KEYS)
    query = [("stream", "1"), ("stdout", "1"), ("stderr", "1")]
    query += [("stdin", "1")] if interactive else []
    query += [("detachKeys", options["detach-keys"])] if options["detach-keys"] else []
    forward = killer(client, details["Id"]) if options["sig-proxy"] and not tty else None
    resize = resizer(client, path) if tty else None
    with ExitStack() as cleanup:
        signals = cleanup.enter_context(Signals(forward, resize))
        waiting = client.request("POST", f"{path}/wait")
        transport, early, _ = client.hijack(f"{path}/attach", query)
        if tty and interactive:
            cleanup.enter_context(Terminal())
        if resize:
            resize()
        if not Session(transport, early, tty, interactive, keys).copy(signals):
            return 0
        await_answer(waiting, signals)
        return exit_code(waiting)


def _check_state(state: dict[str, Any]) -> None:
    if not state.get("Running"):
        raise CliError("cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise CliError("cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise CliError("cannot attach to a restarting container, wait until it is running")


ATTACH = Command(
    "docket attach", "Attach the terminal's streams to a running container",
    (
        ("detach-keys", "", "string", "", "Keys that detach from a terminal"),
        ("no-stdin", "", "bool", False, "Do not attach to standard input"),
        ("sig-proxy", "", "bool", True, "Pass signals on to the container"),
    ),
    _handle, "CONTAINER", 1, 1, aliases=("docket container attach", "docket attach"),
)  # fmt: skip

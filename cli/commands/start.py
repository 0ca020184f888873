"""`docket start`, in the background or attached."""

from __future__ import annotations

from docket.cli.client import quote
from docket.cli.errors import CliError, EngineError
from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    if options["attach"] or options["interactive"]:
        if len(options.args) > 1:
            raise CliError("you cannot start and attach multiple containers at once")
        return _attached(context, options)
    failed = []
    for name in options.args:
        try:
            context.client().request("POST", f"/containers/{quote(name)}/start").read()
        except EngineError as error:
            context.warn(error.message)
            failed.append(name)
        else:
            context.line(name)
            context.flush()
    if failed:
        from docket.cli.sanitise import printable

        raise CliError(f"Error: failed to start containers: {', '.join(map(printable, failed))}")
    return 0


def _attached(context: Context, options: Options) -> int:
    from contextlib import ExitStack

    from docket.cli.commands.run import exit_code
    from docket.cli.session import Session, Signals, await_answer, killer, require_terminal, resizer
    from docket.cli.terminal import DEFAULT_DETACH_KEYS, Terminal, parse_detach_keys

    client = context.client()
    details = client.value("GET", f"/containers/{quote(options.args[0])}/json")
    path, tty = f"/containers/{details['Id']}", bool(details["Config"]["Tty"])
    interactive = options["interactive"] and bool(details["Config"]["OpenStdin"])
    require_terminal(tty, interactive)
    keys = parse_detach_keys(options["detach-keys"] or DEFAULT_DETACH_KEYS)
    query = [("stream", "1"), ("stdout", "1"), ("stderr", "1")]
    query += [("stdin", "1")] if interactive else []
    query += [("detachKeys", options["detach-keys"])] if options["detach-keys"] else []
    resize = resizer(client, path) if tty else None
    with ExitStack() as cleanup:
        signals = cleanup.enter_context(Signals(killer(client, details["Id"]), resize))
        transport, early, _ = client.hijack(f"{path}/attach", query)
        session = Session(transport, early, tty, interactive, keys)
        removed = (details.get("HostConfig") or {}).get("AutoRemove")
        waiting = client.request("POST", f"{path}/wait", [("condition", "removed" if removed else "next-exit")])
        client.request("POST", f"{path}/start").read()
        if tty and interactive:
            cleanup.enter_context(Terminal())
        if resize:
            resize()
        if not session.copy(signals):
            return 0
        await_answer(waiting, signals)
        return exit_code(waiting)


START = Command(
    "docket start", "Start stopped containers",
    (
        ("attach", "a", "bool", False, "Attach to output and pass signals on"),
        ("detach-keys", "", "string", "", "Keys that detach from a terminal"),
        ("interactive", "i", "bool", False, "Attach to standard input"),
    ),
    _handle, "CONTAINER [CONTAINER...]", 1, -1, aliases=("docket container start", "docket start"),
)  # fmt: skip

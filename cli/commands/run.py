"""`docket run`: create, attach, wait, start, copy, and the container's exit code.

The order matters. Attach comes before start, so that no output is missed; the answer to wait has its head before start, so that
a container which ends at once, or removes itself, is not missed either.

Exit codes: the container's own; 125 when docket fails; 126 and 127 when the command cannot be started or found.
"""

from __future__ import annotations

from docket.cli.commands.create import CREATE_FLAGS, SYNONYMS, create_container
from docket.cli.errors import CliError, EngineError, ExitStatus, UsageError
from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.client import Response
    from docket.cli.context import Context
    from docket.cli.options import Options
    from docket.cli.session import Session, Signals

_RUN_FLAGS = (
    *CREATE_FLAGS,
    ("detach", "d", "bool", False, "Run in the background and print the id"),
    ("detach-keys", "", "string", "", "Keys that detach from a terminal"),
    ("sig-proxy", "", "bool", True, "Pass signals on to the container"),
)


def _handle(context: Context, options: Options) -> int:
    try:
        return _run(context, options)
    except UsageError:
        raise
    except CliError as error:
        if not isinstance(error, EngineError) and error.status == 1:
            error.status = 125
        raise _with_help(error) from None


def _with_help(error: CliError) -> CliError:
    """A failure of `run` as Docker shows it, with the status that its text means."""
    status = _start_status(error.message) if isinstance(error, EngineError) else error.status
    message = error.message if error.message.startswith("docket: ") else f"docket: {error.message}"
    return CliError(f"{message}\n\nRun 'docket run --help' for more information", status)


def _start_status(text: str) -> int:
    """126 and 127 by the engine's words, as the Docker CLI does it."""
    if "executable file not found" in text or "no such file or directory" in text:
        return 127
    if "permission denied" in text or "is a directory" in text:
        return 126
    return 125


def _run(context: Context, options: Options) -> int:
    if options["detach"]:
        if options["attach"]:
            raise ExitStatus(_conflict(context, "conflicting options: cannot specify both --attach and --detach"))
        identifier = create_container(context, options, detached=True)
        context.client().request("POST", f"/containers/{identifier}/start").read()
        context.line(identifier)
        return 0
    interactive = options["interactive"] if not options["attach"] else "stdin" in options["attach"]
    if options["tty"] and interactive and not _is_terminal():
        raise ExitStatus(_conflict(context, "the input device is not a TTY"))
    return _attached(context, options, interactive)


def _conflict(context: Context, message: str) -> int:
    context.warn(message)
    return 1


def _is_terminal() -> bool:
    import os

    return os.isatty(0)


def _attached(context: Context, options: Options, interactive: bool) -> int:
    from contextlib import ExitStack

    from docket.cli.session import Session, Signals, killer, resizer
    from docket.cli.terminal import DEFAULT_DETACH_KEYS, Terminal, parse_detach_keys

    keys = parse_detach_keys(options["detach-keys"] or DEFAULT_DETACH_KEYS)
    identifier = create_container(context, options)
    client, tty = context.client(), options["tty"]
    path = f"/containers/{identifier}"
    forward = killer(client, identifier) if options["sig-proxy"] else None
    resize = resizer(client, path) if tty else None
    with ExitStack() as cleanup:
        signals = cleanup.enter_context(Signals(forward, resize))
        transport, early, _ = client.hijack(f"{path}/attach", _attach_query(options, interactive))
        session = Session(transport, early, tty, interactive, keys)
        condition = "removed" if options["rm"] else "next-exit"
        waiting = client.request("POST", f"{path}/wait", [("condition", condition)])
        if tty and interactive:
            cleanup.enter_context(Terminal())
        _start(context, options, path, waiting)
        if resize:
            resize()
        return _follow(session, waiting, signals)


def _attach_query(options: Options, interactive: bool) -> list[tuple[str, str]]:
    streams = options["attach"] or ["stdout", "stderr"]
    query = [("stream", "1")]
    if interactive:
        query.append(("stdin", "1"))
    query += [(name, "1") for name in ("stdout", "stderr") if name in streams]
    if options["detach-keys"]:
        query.append(("detachKeys", options["detach-keys"]))
    return query


def _start(context: Context, options: Options, path: str, waiting: Response) -> None:
    """Starts the container; one that removes itself is gone when a failed start is reported."""
    try:
        context.client().request("POST", f"{path}/start").read()
    except EngineError:
        if options["rm"]:
            waiting.read()
        raise


def _follow(session: Session, waiting: Response, signals: Signals) -> int:
    from docket.cli.session import await_answer

    if not session.copy(signals):
        return 0  # detached: the container goes on
    await_answer(waiting, signals)
    return exit_code(waiting)


def exit_code(waiting: Response) -> int:
    """The exit code in the answer of wait; 125 when the engine reports that waiting failed."""
    from docket.domain.compact_json import loads

    data = waiting.read()
    try:
        answer = loads(data)
        status, failure = int(answer["StatusCode"]), answer.get("Error")
    except (ValueError, KeyError, TypeError):
        raise CliError("the docket daemon ended the wait without an exit code", 125) from None
    if failure and failure.get("Message"):
        from docket.cli.sanitise import printable_text

        raise CliError(printable_text(str(failure["Message"])), 125)
    return status & 0xFF


RUN = Command(
    "docket run", "Create a container from an image and run it", _RUN_FLAGS, _handle, "IMAGE [COMMAND] [ARG...]", 1, -1,
    interspersed=False, aliases=("docket container run", "docket run"), synonyms=SYNONYMS,
)  # fmt: skip

"""Commands that do one thing to each container named: stop, restart, kill, pause, unpause, wait, rm, rename.

A failure is told and the next container is taken; the exit code is 1 when one failed.
"""

from __future__ import annotations

from docket.cli.client import quote
from docket.cli.errors import CliError, EngineError
from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from docket.cli.context import Context
    from docket.cli.options import FlagData, Options

    Action = Callable[[Context, Options, str], str]

_MANY = "CONTAINER [CONTAINER...]"


def _each(action: Action) -> Callable[[Context, Options], int]:
    def handle(context: Context, options: Options) -> int:
        failed = False
        for name in options.args:
            try:
                context.line(action(context, options, name))
                context.flush()
            except EngineError as error:
                context.warn(error.message)
                failed = True
        return int(failed)

    return handle


def _post(verb: str, *flags: tuple[str, str]) -> Action:
    """An action that is one POST; a flag that was given becomes the query parameter beside it."""

    def act(context: Context, options: Options, name: str) -> str:
        query = [(parameter, str(options[flag])) for flag, parameter in flags if options.given(flag)]
        context.client().request("POST", f"/containers/{quote(name)}/{verb}", query).read()
        return name

    return act


def _wait(context: Context, options: Options, name: str) -> str:
    return str(context.client().value("POST", f"/containers/{quote(name)}/wait")["StatusCode"])


def _remove(context: Context, options: Options) -> int:
    failed = False
    query = [(parameter, "1") for flag, parameter in (("force", "force"), ("link", "link"), ("volumes", "v")) if options[flag]]
    for name in options.args:
        name = name.strip("/")
        if not name:
            raise CliError("container name cannot be empty")
        try:
            context.client().request("DELETE", f"/containers/{quote(name)}", query).read()
        except EngineError as error:
            context.warn(error.message)
            # With --force a container that is not there is as it should be.
            failed = failed or not (options["force"] and error.code == 404)
        else:
            context.line(name)
            context.flush()
    return int(failed)


def _rename(context: Context, options: Options) -> int:
    old, new = (name.strip() for name in options.args)
    if not old or not new:
        raise CliError("Error: Neither old nor new names may be empty")
    try:
        context.client().request("POST", f"/containers/{quote(old)}/rename", [("name", new)]).read()
    except EngineError as error:
        from docket.cli.sanitise import printable

        context.warn(error.message)
        raise CliError(f"Error: failed to rename container named {printable(old)}") from None
    return 0


def _command(name: str, summary: str, flags: tuple[FlagData, ...], handler: Callable[[Context, Options], int]) -> Command:
    aliases = (f"docket container {name}", f"docket {name}")
    synonyms = {"time": "timeout"} if name in ("stop", "restart") else {}
    return Command(f"docket {name}", summary, flags, handler, _MANY, 1, -1, aliases=aliases, synonyms=synonyms)


_STOPPING: tuple[FlagData, ...] = (
    ("signal", "s", "string", "", "Signal to send"),
    ("timeout", "t", "int", 0, "Seconds to wait before the container is killed"),
)
_STOP_QUERY = (("signal", "signal"), ("timeout", "t"))

STOP = _command("stop", "Stop running containers", _STOPPING, _each(_post("stop", *_STOP_QUERY)))
RESTART = _command("restart", "Stop and start containers", _STOPPING, _each(_post("restart", *_STOP_QUERY)))
KILL = _command(
    "kill", "Send a signal to running containers", (("signal", "s", "string", "", "Signal to send"),),
    _each(_post("kill", ("signal", "signal"))),
)  # fmt: skip
PAUSE = _command("pause", "Freeze all processes of containers", (), _each(_post("pause")))
UNPAUSE = _command("unpause", "Thaw all processes of containers", (), _each(_post("unpause")))
WAIT = _command("wait", "Wait until containers stop and print their exit codes", (), _each(_wait))
RM = Command(
    "docket rm", "Remove containers",
    (
        ("force", "f", "bool", False, "Kill the container first if it runs"),
        ("link", "l", "bool", False, "Remove the link named"),
        ("volumes", "v", "bool", False, "Remove its anonymous volumes as well"),
    ),
    _remove, _MANY, 1, -1, aliases=("docket container rm", "docket container remove", "docket rm"),
)  # fmt: skip
RENAME = Command(
    "docket rename", "Rename a container", (), _rename, "CONTAINER NEW_NAME", 2, 2,
    aliases=("docket container rename", "docket rename"),
)  # fmt: skip

"""The `docket` program: global flags, the choice of the command, and the end of every error.

A command's result is an exit code. Every failure becomes one message on standard error: 125 for flags that cannot be read and for
`run`'s own failures, 126 and 127 where a container's command cannot be started, 1 for the rest. Nothing ends in a traceback.
"""

from __future__ import annotations

import os
import sys

from docket.cli.context import Context, TlsSettings, encode, write_all
from docket.cli.errors import CliError, ExitStatus, UsageError
from docket.cli.options import Command, Options, parse
from docket.cli.registry import COMMANDS, GROUPS, row
from docket.cli.sanitise import printable

_GLOBAL = Command(
    "docket",
    "A container engine whose source of truth is an event log",
    (
        ("config", "", "string", "", "Accepted for Docker's sake; docket has no client configuration"),
        ("debug", "D", "bool", False, "Show a traceback when docket itself fails"),
        ("host", "H", "list", (), "Engine to talk to: unix:///path or tcp://host:port"),
        ("log", "", "string", "", "Look at this exported log, or at the log of this data root, instead of asking an engine"),
        ("log-level", "l", "string", "info", "Accepted for Docker's sake"),
        ("tls", "", "bool", False, "Encrypt, without checking who answers"),
        ("tlscacert", "", "string", "", "Trust engines whose certificate this authority signed"),
        ("tlscert", "", "string", "", "The client's certificate"),
        ("tlskey", "", "string", "", "The key of the client's certificate"),
        ("tlsverify", "", "bool", False, "Encrypt and check who answers"),
        ("version", "v", "bool", False, "Show the version and end"),
    ),
    None,
    "COMMAND [ARG...]",
    0,
    -1,
    interspersed=False,
)  # fmt: skip


def main() -> int:
    """Runs the command line in `sys.argv` and leaves the process; returns only in name."""
    import _signal

    # As a Go program does: an interrupt ends the program unless a command that runs a container says otherwise.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    status = run(sys.argv[1:])
    os._exit(status)  # skips the interpreter's teardown: a tenth of a short command's time


def run(argv: list[str]) -> int:
    """Runs one command line and returns its exit code; everything it said has been written."""
    debug = False
    try:
        options = parse(_GLOBAL, argv)
        debug = options["debug"]
        if options["log"]:
            return _look_at(options)
        return _perform(_context(options), options)
    except ExitStatus as ended:
        return ended.status
    except CliError as error:
        return _report(error)
    except OSError as error:
        if debug:
            raise
        name = f" {printable(os.fsdecode(error.filename))}:" if error.filename else ""
        return _complain(f"docket:{name} {(error.strerror or str(error)).lower()}", 1)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # A bug of docket's: still one line, with the way to see more.
        if debug:
            raise
        return _complain(f"docket: internal error: {type(error).__name__}: {printable(str(error))} (docket -D shows more)", 1)


def _perform(context: Context, options: Options) -> int:
    status = _dispatch(context, options)
    context.flush()
    return status


def _look_at(options: Options) -> int:
    from docket.cli.offline import looked_at

    with looked_at(options["log"]) as host:
        return _perform(Context(host), options)


def _report(error: CliError) -> int:
    """Says what went wrong in the shape that Docker's users know."""
    if not isinstance(error, UsageError):
        return _complain(error.message, error.status)
    path = error.command.path
    text = f"docket: {error.message}" if error.prefixed else error.message
    return _complain(
        f"{text}\n\nUsage:  {error.command.usage_line()}\n\nRun '{path} --help' for more information", error.status
    )


def _complain(text: str, status: int) -> int:
    try:
        write_all(2, encode(text.rstrip("\n")) + b"\n")
    except (OSError, ExitStatus):
        return status  # nobody is left to be told
    return status


def _context(options: Options) -> Context:
    hosts = options["host"]
    if len(hosts) > 1:
        raise CliError("specify only one -H")
    verify = options["tlsverify"] if options.given("tlsverify") else bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if not (verify or options["tls"]):
        return Context(hosts[0] if hosts else None)
    directory = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docket")
    names = (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem"))
    # A file that was not named is used when it is there; the authority is needed for checking.
    ca, certificate, key = (options[flag] or _existing(f"{directory}/{name}") for flag, name in names)
    if verify and not ca:
        raise CliError(
            f"--tlsverify needs the authority's certificate: name it with --tlscacert, or put it at {directory}/ca.pem"
        )
    return Context(hosts[0] if hosts else None, TlsSettings(verify, ca, certificate, key))


def _existing(path: str) -> str:
    return path if os.path.exists(path) else ""


def _dispatch(context: Context, options: Options) -> int:
    words = options.args
    if options["version"]:
        from docket import __version__

        context.line(f"Docket version {__version__}")
        return 0
    if words[:1] == ["help"]:
        return _help(context, words[1:])
    if options.help or not words:
        context.write(_overview())
        return 0
    if words[0] in GROUPS:
        return _dispatch_group(context, words[0], words[1:])
    if words[0] not in COMMANDS:
        raise CliError(f"docket: unknown command: docket {printable(words[0])}\n\nRun 'docket --help' for more information")
    return _invoke(context, _load(words[0], f"docket {words[0]}"), words[1:])


def _dispatch_group(context: Context, group: str, words: list[str]) -> int:
    members = GROUPS[group][1]
    if not words or words[0] in ("--help", "-h"):
        context.write(_group_help(group))
        return 0
    path = f"docket {group} {printable(words[0])}"
    if words[0] not in members:
        raise CliError(f"docket: unknown command: {path}\n\nRun 'docket {group} --help' for more information")
    return _invoke(context, _load(members[words[0]], path), words[1:])


def _load(name: str, path: str) -> Command:
    module, attribute, _ = row(name)
    command: Command = getattr(__import__(f"docket.cli.commands.{module}", fromlist=[attribute]), attribute)
    return command.named(path)


def _invoke(context: Context, command: Command, argv: list[str]) -> int:
    options = parse(command, argv)
    if options.help:
        from docket.cli.usage import command_help

        context.write(command_help(command))
        return 0
    assert command.handler is not None, command.path
    return command.handler(context, options)


def _help(context: Context, words: list[str]) -> int:
    """`docket help run` is `docket run --help`."""
    if not words:
        context.write(_overview())
        return 0
    inner = parse(_GLOBAL, [*words, "--help"])
    return _dispatch(context, inner)


def _overview() -> str:
    from docket.cli.usage import command_list, flag_table, width

    groups = [(name, summary) for name, (summary, _) in GROUPS.items()]
    commands = [(name, summary) for name, (_, _, summary) in COMMANDS.items()]
    return (
        f"Usage:  docket [OPTIONS] COMMAND\n\n{_GLOBAL.summary}\n\nCommands:\n{command_list(commands)}\n\n"
        f"Management Commands:\n{command_list(groups)}\n\nGlobal Options:\n{flag_table(_GLOBAL.flags, width())}\n\n"
        "Run 'docket COMMAND --help' for more information on a command.\n"
    )


def _group_help(group: str) -> str:
    from docket.cli.usage import command_list

    summary, members = GROUPS[group]
    rows = [(word, row(name)[2]) for word, name in sorted(members.items()) if word not in ("list", "ps", "remove")]
    return (
        f"Usage:  docket {group} COMMAND\n\n{summary}\n\nCommands:\n{command_list(rows)}\n\n"
        f"Run 'docket {group} COMMAND --help' for more information on a command.\n"
    )

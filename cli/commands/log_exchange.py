"""`docket log export` and `docket log import`: a log as one file, for another machine. `docket log compact`: a shorter log."""

from __future__ import annotations

import os

from docket.cli.context import write_all
from docket.cli.errors import CliError, UsageError
from docket.cli.formatting import human_size
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import Context
    from docket.cli.options import Options


def exchange(context: Context, options: Options) -> int:
    """`export FILE`, `import FILE DIRECTORY` or `compact`."""
    verb, *names = options.args
    if verb == "export" and len(names) == 1:
        return _export(context, names[0], options["with-secrets"])
    if verb == "import" and len(names) == 2:
        return _import(context, *names)
    if verb == "compact" and not names:
        return _compact(context, options["keep"])
    words = "nothing, export FILE, import FILE DIRECTORY, or compact"
    message = f"'docket log' takes {words}, and not: {printable(' '.join(options.args))}"
    raise UsageError(message, options.command, 1, prefixed=True)


def _export(context: Context, name: str, secrets: bool) -> int:
    response = context.client().request("GET", "/docket/export", [("secrets", "1")] if secrets else [])
    if name == "-":
        for chunk in response.chunks():
            write_all(1, chunk)
        return 0
    part = f"{name}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
        for chunk in response.chunks():
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, name)
    return 0


def _compact(context: Context, keep: str) -> int:
    if keep and not (keep.isascii() and keep.isdigit()):
        raise CliError(f"invalid value for --keep: {printable(keep)!r}: it must be a number of events")
    done = context.client().value("POST", "/docket/log/compact", [("keep", keep)] if keep else [])
    context.line(
        f"{done['sealed']} events archived; {done['archives']} archives of {human_size(done['archived_bytes'])} in all"
    )
    if done["floor"]:
        context.line(f"events up to {done['floor']} are no longer kept")
    return 0


def _import(context: Context, name: str, directory: str) -> int:
    from docket.cli.offline import import_file

    found = import_file(name, directory)
    context.line(
        f"{found.events} events, {found.recordings} recordings, {found.secrets} secrets: verified up to {found.hash.hex()}; "
        f"look at it with docket --log {printable(directory)} log"
    )
    return 0

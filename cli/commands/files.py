"""`docket diff`, `docket export` and `docket commit`: a container's files as changes, as an archive, as an image."""

from __future__ import annotations

import os

from docket.cli.client import quote
from docket.cli.context import write_all
from docket.cli.errors import CliError
from docket.cli.options import Command
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.client import Response
    from docket.cli.context import Context
    from docket.cli.options import Options

_KINDS = {0: "C", 1: "A", 2: "D"}


def _diff(context: Context, options: Options) -> int:
    name = options.args[0]
    if not name:
        raise CliError("Container name cannot be empty")
    for change in context.client().value("GET", f"/containers/{quote(name)}/changes") or ():
        context.line(f"{_KINDS.get(change['Kind'], '?')} {printable(str(change['Path']))}")
    return 0


def _export(context: Context, options: Options) -> int:
    output = options["output"]
    if not output and os.isatty(1):
        raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    response = context.client().request("GET", f"/containers/{quote(options.args[0])}/export")
    if output:
        save(response, output)
    else:
        context.flush()
        for chunk in response.chunks():
            write_all(1, chunk)
    return 0


def save(response: Response, path: str) -> None:
    """Writes an answer into a file that appears when it is whole."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".tmp-{name}-{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for chunk in response.chunks():
                write_all(descriptor, chunk)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError as error:
        raise CliError(f"failed to write {printable(path)}: {(error.strerror or str(error)).lower()}") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _commit(context: Context, options: Options) -> int:
    from docket.cli.pulling import full_name

    name, *target = options.args
    query = [("container", name)]
    if target and target[0]:
        if "@" in target[0]:
            raise CliError("refusing to create a tag with a digest reference")
        repository, tag = full_name(target[0])
        query += [("repo", repository), ("tag", tag)]
    query += [(flag, options[flag]) for flag in ("author",) if options[flag]]
    query += [("comment", options["message"])] if options["message"] else []
    query += [("changes", change) for change in options["change"]]
    query += [("pause", "1" if options["pause"] else "0")]
    context.line(str(context.client().value("POST", "/commit", query)["Id"]))
    return 0


DIFF = Command(
    "docket diff", "List what changed in a container's files", (), _diff, "CONTAINER", 1, 1,
    aliases=("docket container diff", "docket diff"),
)  # fmt: skip
EXPORT = Command(
    "docket export", "Write a container's files as a tar archive",
    (("output", "o", "string", "", "Write to a file instead of standard output"),),
    _export, "CONTAINER", 1, 1, aliases=("docket container export", "docket export"),
)  # fmt: skip
COMMIT = Command(
    "docket commit", "Make an image of a container's changes",
    (
        ("author", "a", "string", "", "Author of the image"),
        ("change", "c", "list", (), "Apply a Dockerfile instruction to the image"),
        ("message", "m", "string", "", "Message to keep in the image's history"),
        ("pause", "p", "bool", True, "Freeze the container meanwhile"),
    ),
    _commit, "CONTAINER [REPOSITORY[:TAG]]", 1, 2, aliases=("docket container commit", "docket commit"),
)  # fmt: skip

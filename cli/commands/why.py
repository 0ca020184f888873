"""`docket why`: the causes of an image or a container, followed backwards to the first job."""

from __future__ import annotations

from docket.cli.client import quote
from docket.cli.formatting import ellipsis, short_id, table
from docket.cli.json_light import dumps
from docket.cli.options import Command
from docket.cli.times import local_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options

_TITLES = ["OBJECT", "WHY", "POSITION", "TIME", "JOB", "BY"]
_WHY_LENGTH = 70


def _handle(context: Context, options: Options) -> int:
    query = [("type", options["type"])] if options["type"] else []
    causes = context.client().value("GET", f"/docket/why/{quote(options.args[0], '/:')}", query)
    if options["json"]:
        for cause in causes:
            context.line(dumps(cause))
        return 0
    lines, last = [], ""
    for cause in causes:
        lines.append(_cells(cause, options["no-trunc"], is_same=cause["object"] == last))
        last = cause["object"]
    context.write(table([_TITLES, *lines]))
    return 0


def _cells(cause: dict[str, Any], full: bool, *, is_same: bool) -> list[str]:
    """A row; what is told of the same object again stands below it, a step to the right."""
    part = cause["part"]
    name = f"  {_part(part, full)}" if is_same else _object(cause["object"], full)
    why = " ".join(filter(None, (cause["why"], _object(cause["leads_to"], full))))
    if not cause["position"]:
        return [name, why, "", "", "", ""]
    time = local_rfc3339(cause["time_ns"])
    job = cause["job"] if full else cause["job"][:8]
    return [
        name,
        why if full else ellipsis(why, _WHY_LENGTH),
        str(cause["position"]),
        time if full else time[:23],
        f"{job} {cause['job_name']}".strip(),
        cause["actor"],
    ]


def _object(stream: str, full: bool) -> str:
    kind, dash, identifier = stream.partition("-")
    return f"{kind}{dash}{short_id(identifier, full)}"


def _part(part: str, full: bool) -> str:
    """A name as it is, the digest of a layer shortened."""
    kind, space, digest = part.partition(" ")
    return f"{kind}{space}{short_id(digest, full)}" if kind == "layer" else part


WHY = Command(
    "docket why", "Show the jobs and events that made an image or a container what it is",
    (
        ("json", "", "bool", False, "Print each cause as JSON on one line, complete"),
        ("no-trunc", "", "bool", False, "Cut nothing off"),
        ("type", "", "string", "", "Look for a container or an image only"),
    ),
    _handle, "IMAGE|CONTAINER", 1, 1,
)  # fmt: skip

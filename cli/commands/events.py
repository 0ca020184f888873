"""`docket events`: Docker's event messages, as they happen. The log itself is shown by `docket log`."""

from __future__ import annotations

import time

from docket.cli.errors import CliError
from docket.cli.formatting import filters, for_terminal, render_value
from docket.cli.json_light import dumps
from docket.cli.options import Command
from docket.cli.sanitise import printable
from docket.cli.times import local_rfc3339, timestamp
from docket.domain.compact_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    query = filters(options["filter"])
    for name in ("since", "until"):
        if options[name]:
            try:
                query.append((name, timestamp(options[name], time.time_ns())))
            except ValueError as error:
                raise CliError(f'invalid value for "{name}": {error}') from None
    form = options["format"]
    clean = for_terminal()
    for line in context.client().request("GET", "/events", query).lines():
        message = loads(line)
        if form == "json":
            context.line(dumps(message))
        elif form:
            context.line(clean(render_value(form, _with_aliases(message))))
        else:
            context.line(_line(message))
        context.flush()
    return 0


def _with_aliases(message: dict[str, Any]) -> dict[str, Any]:
    """The old names of Docker's type, which templates still use."""
    actor = message.get("Actor") or {}
    return {**message, "ID": actor.get("ID", ""), "Status": message.get("Action", ""), "From": message.get("from", "")}


def _line(message: dict[str, Any]) -> str:
    actor = message.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    moment = message.get("timeNano") or message.get("time", 0) * 10**9
    text = f"{local_rfc3339(moment)} {message.get('Type', '')} {message.get('Action', '')} {actor.get('ID', '')}"
    if attributes:
        text += " (" + ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes)) + ")"
    return printable(text)


EVENTS = Command(
    "docket events", "Show what happens in the engine as it happens",
    (
        ("filter", "f", "filter", (), "Show those that match"),
        ("format", "", "string", "", "Print by a Go template, or as json"),
        ("since", "", "string", "", "Show what happened since a time or a duration ago"),
        ("until", "", "string", "", "End at a time"),
    ),
    _handle, aliases=("docket system events", "docket events"),
)  # fmt: skip

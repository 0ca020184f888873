"""`docket log`: the event log, from which the engine's whole state follows."""

from __future__ import annotations

import time

from docket.cli.errors import CliError
from docket.cli.formatting import ellipsis, short_id, table
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

_TITLES = ["POSITION", "TIME", "OBJECT", "EVENT", "JOB", "DATA"]
# While following, lines cannot wait for the widest cell: these hold every position up to a million, and every event's name.
_WIDTHS = (11, 26, 25, 26, 11)
_DATA_LENGTH = 100


def _handle(context: Context, options: Options) -> int:
    if options.args:
        from docket.cli.commands.log_exchange import exchange

        return exchange(context, options)
    response = context.client().request("GET", "/docket/log", _query(options))
    lines = []
    titled = False
    for text in response.lines():
        event = loads(text)
        if isinstance(event, dict) and "message" in event and "position" not in event:
            raise CliError(f"Error response from daemon: {printable(str(event['message']))}")
        if options["json"]:
            context.line(dumps(event))
        elif not options["follow"]:
            lines.append(_cells(event, options["no-trunc"]))
            continue
        else:
            if not titled:
                context.write(_fixed(_TITLES))
                titled = True
            context.write(_fixed(_cells(event, options["no-trunc"])))
        if options["follow"]:
            context.flush()
    if not options["json"] and not options["follow"]:
        context.write(table([_TITLES, *lines]))
    return 0


def _query(options: Options) -> list[tuple[str, str]]:
    query = [(name, options[name]) for name in ("container", "image", "job", "type") if options[name]]
    if options["follow"]:
        query.append(("follow", "1"))
    if options["after"]:
        query.append(("after", str(options["after"])))
    if options["tail"] != "all":
        if not options["tail"].isascii() or not options["tail"].isdigit():
            raise CliError(f"invalid value for --tail: {printable(options['tail'])!r}: it must be a number or all")
        query.append(("limit", options["tail"]))
    for name in ("since", "until"):
        if options[name]:
            try:
                query.append((name, timestamp(options[name], time.time_ns())))
            except ValueError as error:
                raise CliError(f'invalid value for "{name}": {error}') from None
    return query


def _cells(event: dict[str, Any], full: bool) -> list[str]:
    kind, dash, identifier = event["stream"].partition("-")
    # Most events repeat the id that is in the object's column already.
    own = {name: value for name, value in (event.get("data") or {}).items() if value != identifier}
    data = " ".join(_told(own, "", full))
    return [
        str(event["position"]),
        local_rfc3339(event["time"]) if full else local_rfc3339(event["time"])[:23],
        f"{kind}{dash}{short_id(identifier, full)}",
        event["type"],
        event["job"] or "" if full else (event["job"] or "")[:8],
        data if full else ellipsis(data, _DATA_LENGTH),
    ]


def _told(fields: dict[str, Any], prefix: str, full: bool) -> list[str]:
    """Fields as ``name=value``; those within others with a dotted name, and only where they say something."""
    told = []
    for name, value in fields.items():
        if prefix and not value:
            continue
        if isinstance(value, dict):
            told += _told(value, f"{prefix}{name}.", full)
        elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
            told.append(f"{prefix}{name}={dumps(value)}")
        elif isinstance(value, list):
            told.append(f"{prefix}{name}={','.join(_word(each, full) for each in value)}")
        else:
            told.append(f"{prefix}{name}={_word(value, full)}")
    return told


def _word(value: Any, full: bool) -> str:
    """A value as one word: strings that are several are quoted, ids are shortened."""
    if not isinstance(value, str):
        return dumps(value)
    bare = value.removeprefix("sha256:")
    if not full and len(bare) == 64 and not bare.strip("0123456789abcdef"):
        return short_id(value, False)
    return dumps(value) if not value or any(character in value for character in ' ",=') else value


def _fixed(cells: list[str]) -> str:
    head = "".join(printable(cell).ljust(width - 1) + " " for cell, width in zip(cells, _WIDTHS, strict=False))
    return f"{head}{printable(cells[-1])}\n"


LOG = Command(
    "docket log", "Show the event log, the engine's source of truth",
    (
        ("after", "", "int", 0, "Show events after a position"),
        ("container", "", "string", "", "Show events of one container"),
        ("follow", "f", "bool", False, "Go on showing new events"),
        ("image", "", "string", "", "Show events of one image"),
        ("job", "", "string", "", "Show events of one job"),
        ("json", "", "bool", False, "Print each event as JSON on one line, complete"),
        ("keep", "", "string", "", "Events that stay in the log when it is compacted; by default as the daemon's options say"),
        ("no-trunc", "", "bool", False, "Cut nothing off"),
        ("since", "", "string", "", "Show events since a time (2006-01-02T15:04:05Z) or a duration ago (42m)"),
        ("tail", "n", "string", "all", "Show this many events from the end"),
        ("type", "", "string", "", "Show events of one type, such as ContainerStarted"),
        ("until", "", "string", "", "Show events before a time or a duration ago"),
        ("with-secrets", "", "bool", False, "Let an export contain environment values and exec arguments"),
    ),
    _handle,
    "[export FILE | import FILE DIRECTORY | compact]",
    0,
    3,
)  # fmt: skip

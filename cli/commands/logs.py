"""`docket logs`: what a container has written."""

from __future__ import annotations

import time

from docket.cli.client import quote
from docket.cli.errors import CliError
from docket.cli.options import Command
from docket.cli.streams import Demultiplexer, Raw
from docket.cli.times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    client = context.client()
    path = f"/containers/{quote(options.args[0])}"
    query = [("stdout", "1"), ("stderr", "1"), ("tail", options["tail"])]
    query += [(name, "1") for name in ("follow", "timestamps", "details") if options[name]]
    for name in ("since", "until"):
        if options[name]:
            try:
                query.append((name, timestamp(options[name], time.time_ns())))
            except ValueError as error:
                raise CliError(f'invalid value for "{name}": {error}') from None
    response = client.request("GET", f"{path}/logs", query)
    kind = response.headers.get("content-type", "")
    if "multiplexed-stream" in kind:
        tty = False
    elif "raw-stream" in kind:
        tty = True
    else:
        # An engine older than 1.42 does not tell which of the two it is.
        tty = bool(client.value("GET", f"{path}/json")["Config"]["Tty"])
    output = Raw() if tty else Demultiplexer()
    for chunk in response.chunks():
        output.feed(chunk)
    return 0


LOGS = Command(
    "docket logs", "Show the output of a container",
    (
        ("details", "", "bool", False, "Show the details that the logging driver keeps"),
        ("follow", "f", "bool", False, "Go on showing new output"),
        ("since", "", "string", "", "Show output since a time (2006-01-02T15:04:05Z) or a duration ago (42m)"),
        ("tail", "n", "string", "all", "Show this many lines from the end"),
        ("timestamps", "t", "bool", False, "Show when each line was written"),
        ("until", "", "string", "", "Show output before a time or a duration ago"),
    ),
    _handle, "CONTAINER", 1, 1, aliases=("docket container logs", "docket logs"),
)  # fmt: skip

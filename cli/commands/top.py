"""`docket top`: the processes of a container, as the host's `ps` shows them."""

from __future__ import annotations

from docket.cli.client import quote
from docket.cli.formatting import table
from docket.cli.options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.cli.context import Context
    from docket.cli.options import Options


def _handle(context: Context, options: Options) -> int:
    name, *words = options.args
    query = [("ps_args", " ".join(words))] if words else []
    answer = context.client().value("GET", f"/containers/{quote(name)}/top", query)
    context.write(table([answer["Titles"], *(answer["Processes"] or ())], least=20))
    return 0


TOP = Command(
    "docket top", "List the processes of a container", (), _handle, "CONTAINER [ps OPTIONS]", 1, -1,
    interspersed=False, aliases=("docket container top", "docket top"),
)  # fmt: skip

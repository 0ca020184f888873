"""Commands on the past: `explain` (what the kernel was told), `replay` (does a job do the same again?), `forget` (secrets), and
`audit verify` (that nothing was altered)."""

from __future__ import annotations

from docket.cli.client import quote
from docket.cli.errors import CliError
from docket.cli.options import Command
from docket.cli.sanitise import printable, printable_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options


def _explain(context: Context, options: Options) -> int:
    text = context.client().request("GET", f"/docket/explain/{quote(options.args[0])}").read()
    context.write(printable_text(text.decode("utf-8", "replace")))
    return 0


def _replay(context: Context, options: Options) -> int:
    status = 0
    for name in options.args:
        for result in context.client().value("GET", f"/docket/replay/{quote(name)}"):
            status = max(status, int(bool(result["divergence"])))
            context.write(_replayed(result))
            context.flush()
    return status


def _replayed(result: dict[str, Any]) -> str:
    job, what = (
        printable(result["job"][:8]),
        printable(" ".join([result["name"], *(each[:12] for each in result["arguments"])])),
    )
    if result["divergence"]:
        text = printable_text(result["divergence"]).rstrip()
        return f"{job} {what}: DIFFERS\n" + "".join(f"    {line}\n" for line in text.splitlines())
    end = "as recorded, up to where the engine ended" if result["cut"] else "as recorded"
    labels = {"calls": "kernel call", "operations": "operation", "events": "event"}
    counts = ", ".join(_count(result[name], label) for name, label in labels.items())
    return f"{job} {what}: {counts}: {end}\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _forget(context: Context, options: Options) -> int:
    for name in options.args:
        context.client().request("POST", f"/docket/forget/{quote(name)}").read()
        context.line(name)
        context.flush()
    return 0


def _audit(context: Context, options: Options) -> int:
    if options.args != ["verify"]:
        raise CliError(
            f"docket: unknown command: docket audit {printable(options.args[0])}\n\nRun 'docket audit --help' for more information"
        )
    result = context.client().value("GET", "/docket/verify")
    if not result["ok"]:
        position, message = result.get("position", 0), printable(str(result.get("message", "")))
        where = f"the log was altered at position {position}" if position else "the log is damaged"
        raise CliError(f"docket: {where}: {message}")
    context.line(f"{result['events']} events verified, head at position {result['head']}: no event was altered")
    if result.get("floor"):
        context.line(f"events up to {result['floor']} are no longer kept")
    return 0


EXPLAIN = Command(
    "docket explain", "Show the kernel's part of a container or job as shell commands", (), _explain, "CONTAINER|JOB", 1, 1
)
REPLAY = Command(
    "docket replay",
    "Execute jobs again against what the kernel did then",
    (),
    _replay,
    "CONTAINER|JOB [CONTAINER|JOB...]",
    1,
    -1,
)
FORGET = Command(
    "docket forget", "Erase a container's secrets from the whole history", (), _forget, "CONTAINER [CONTAINER...]", 1, -1
)
AUDIT = Command("docket audit", "Check that no event of the log was altered", (), _audit, "verify", 1, 1)

"""`docket fsck`: log, chain, projections, blobs, containers and kernel checked against each other."""

from __future__ import annotations

from docket.cli.formatting import short_id
from docket.cli.options import Command
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options

_NOUNS = {"log": "event", "projection": "projection", "image": "image", "container": "container"}


def _handle(context: Context, options: Options) -> int:
    report = context.client().value("POST" if options["repair"] else "GET", "/docket/fsck")
    findings = report["findings"]
    for finding in findings:
        context.line(_told(finding, options["repair"]))
    checked = ", ".join(_count(report["checked"][area], noun) for area, noun in _NOUNS.items() if area in report["checked"])
    left = sum(not finding["repaired"] for finding in findings)
    missing = [noun for area, noun in _NOUNS.items() if area not in report["checked"]]
    context.line(f"{checked or 'nothing'} checked: {_count(left, 'problem') if left else 'all is well'}")
    if missing:
        context.line(f"not checked: {', '.join(f'{noun}s' for noun in missing)}")
    return 1 if left else 0


def _told(finding: dict[str, Any], repairing: bool) -> str:
    subject = printable(short_id(finding["subject"], False) if len(finding["subject"]) >= 64 else finding["subject"])
    text = f"{finding['area']} {subject}: {printable(finding['problem'])}"
    if finding["repaired"]:
        return f"{text}; repaired: {printable(finding['repair'])}"
    return text if repairing or not finding["repair"] else f"{text} (--repair would {printable(finding['repair'])})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


FSCK = Command(
    "docket fsck",
    "Check log, images, containers and kernel against each other",
    (("repair", "", "bool", False, "Repair what can be repaired; each repair becomes an event"),),
    _handle,
)

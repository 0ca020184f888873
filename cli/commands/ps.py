"""`docket ps`: the containers, now or at any moment of the log."""

from __future__ import annotations

import time

from docket.cli.formatting import ellipsis, filters, human_size, ports, print_rows, short_id
from docket.cli.options import Command
from docket.cli.times import human_duration, local_created

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options

_TITLES = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
    "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Names": "NAMES", "Labels": "LABELS",
    "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Label": "LABEL", "Platform": "PLATFORM",
}  # fmt: skip
_COLUMNS = "ID Image Command RunningFor Status Ports Names"


def _handle(context: Context, options: Options) -> int:
    query: list[tuple[str, str]] = []
    last = 1 if options["latest"] and options["last"] < 0 else options["last"]
    # The engine computes sizes only when asked; a template that shows them asks.
    size = options["size"] or ".Size" in options["format"]
    if options["all"]:
        query.append(("all", "1"))
    if last > 0:
        query.append(("limit", str(last)))
    if size:
        query.append(("size", "1"))
    query += filters(options["filter"])
    now = time.time_ns()
    if options["at"]:
        from docket.cli.commands.at import at_query

        query += at_query(options["at"], now)
    containers = context.client().value("GET", "/containers/json", query)
    full = options["no-trunc"]
    if options["quiet"] and not options["format"]:
        for container in containers:
            context.line(short_id(container["Id"], full))
        return 0
    rows = (container_row(container, full, now) for container in containers)
    print_rows(context, rows, options["format"], _TITLES, _COLUMNS + (" Size" if options["size"] else ""))
    return 0


def container_row(container: dict[str, Any], full: bool, now: int) -> dict[str, Any]:
    """One container's fields as Docker names and writes them."""
    from docket.cli.json_light import dumps

    command = container.get("Command", "")
    labels: dict[str, str] = container.get("Labels") or {}
    return {
        "ID": short_id(container["Id"], full),
        "Image": _image(container, full),
        "Command": dumps(command if full else ellipsis(command, 20)),
        "CreatedAt": lambda: local_created(container["Created"]),
        "RunningFor": human_duration(max(0, now - container["Created"] * 10**9)) + " ago",
        "Ports": ports(container.get("Ports") or []),
        "State": container.get("State", ""),
        "Status": container.get("Status", ""),
        "Size": lambda: _size(container),
        "Names": lambda: _names(container, full),
        "Labels": lambda: ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": lambda: _mounts(container, full),
        "LocalVolumes": lambda: str(sum(mount.get("Driver") == "local" for mount in container.get("Mounts") or ())),
        "Networks": lambda: ",".join(sorted((container.get("NetworkSettings") or {}).get("Networks") or {})),
        "Platform": None,
    }


def _image(container: dict[str, Any], full: bool) -> str:
    image: str = container.get("Image") or "<no image>"
    if full:
        return image
    # An image that lost its name is shown by its id; a name by digest without the digest.
    if short_id(container.get("ImageID", "")) == short_id(image):
        return short_id(image)
    name, _, digest = image.partition("@")
    return name if digest else image


def _names(container: dict[str, Any], full: bool) -> str:
    """Names without the slash; those of links (`/other/alias`) only in full."""
    names = [name.removeprefix("/") for name in container.get("Names") or ()]
    return ",".join(name for name in names if full or "/" not in name)


def _size(container: dict[str, Any]) -> str:
    own, virtual = container.get("SizeRw", 0), container.get("SizeRootFs", 0)
    return human_size(own) + (f" (virtual {human_size(virtual)})" if virtual > 0 else "")


def _mounts(container: dict[str, Any], full: bool) -> str:
    names = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or ()]
    return ",".join(name if full else ellipsis(name, 15) for name in names)


PS = Command(
    "docket ps", "List containers",
    (
        ("all", "a", "bool", False, "Show all containers, not only running ones"),
        ("at", "", "string", "", "Show them as they were at a time, a duration ago, or a position of the log"),
        ("filter", "f", "filter", (), "Show those that match"),
        ("format", "", "string", "", "Print by a Go template, as json, or as a table of a template's fields"),
        ("last", "n", "int", -1, "Show the last containers created"),
        ("latest", "l", "bool", False, "Show the last container created"),
        ("no-trunc", "", "bool", False, "Cut nothing off"),
        ("quiet", "q", "bool", False, "Show ids only"),
        ("size", "s", "bool", False, "Show sizes"),
    ),
    _handle, aliases=("docket container ls", "docket container list", "docket container ps", "docket ps"),
)  # fmt: skip

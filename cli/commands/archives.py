"""Images and archives: `save`, `load`, `history`, `image prune` and `system df`."""

from __future__ import annotations

import os
import time

from docket.cli.client import quote
from docket.cli.context import write_all
from docket.cli.errors import CliError
from docket.cli.formatting import ellipsis, filters, human_size, print_rows, short_id, table
from docket.cli.options import Command
from docket.cli.sanitise import printable
from docket.cli.times import human_duration, local_created

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options

_HISTORY = {
    "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE",
    "Comment": "COMMENT",
}  # fmt: skip
_USAGE = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
_CREATED_BY = 45
_PIECE = 1 << 18


def _save(context: Context, options: Options) -> int:
    output = options["output"]
    if output and os.path.exists(output) and not os.path.isfile(output):
        raise CliError(f"cannot save to {printable(output)}: it is no regular file")
    if not output and os.isatty(1):
        raise CliError("cowardly refusing to save to a terminal: use the -o flag or redirect")
    query = [("names", name) for name in options.args]
    context.flush()
    if not output:
        for chunk in context.client().request("GET", "/images/get", query).chunks():
            write_all(1, chunk)
        return 0
    _into_file(context.client().request("GET", "/images/get", query).chunks(), output)
    return 0


def _into_file(chunks: Iterable[bytes], path: str) -> None:
    """Writes beside the file and renames: whoever looks sees the old archive or the whole new one."""
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CliError(f"open {printable(path)}: {(error.strerror or str(error)).lower()}") from None
    try:
        try:
            for chunk in chunks:
                write_all(descriptor, chunk)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            raise CliError(f"write {printable(path)}: {(error.strerror or str(error)).lower()}") from None
        raise


def _load(context: Context, options: Options) -> int:
    from docket.cli.pulling import show_progress

    path = options["input"]
    if not path and os.isatty(0):
        raise CliError("requested load from stdin, but stdin is empty")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else 0
    except OSError as error:
        raise CliError(f"open {printable(path)}: {(error.strerror or str(error)).lower()}") from None
    query = [("quiet", "1" if options["quiet"] or not os.isatty(1) else "0")]
    context.flush()
    show_progress(context.client().upload("POST", "/images/load", query, _pieces(descriptor)), 1)
    return 0


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, _PIECE):
        yield piece


def _history(context: Context, options: Options) -> int:
    entries = context.client().value("GET", f"/images/{quote(options.args[0], '/:')}/history")
    if options["events"]:
        for event in entries[0].get("Events") or () if entries else ():
            context.line(printable(_event_line(event)))
        return 0
    now = time.time_ns()
    rows = [_history_row(entry, options, now) for entry in entries]
    if options["quiet"]:
        for row in rows:
            context.line(row["ID"])
        return 0
    print_rows(context, rows, options["format"], _HISTORY, "ID CreatedSince CreatedBy Size Comment")
    return 0


def _history_row(entry: dict[str, Any], options: Options, now: int) -> dict[str, Any]:
    by = str(entry["CreatedBy"]).replace("\t", " ")
    identifier = entry["Id"]
    created = entry["Created"]
    return {
        "ID": identifier if identifier.startswith("<") else short_id(identifier, options["no-trunc"]),
        "CreatedSince": human_duration(max(0, now - created * 10**9)) + " ago" if options["human"] else local_created(created),
        "CreatedAt": local_created(created),
        "CreatedBy": by if options["no-trunc"] else ellipsis(by, _CREATED_BY),
        "Size": human_size(entry["Size"]) if options["human"] else str(entry["Size"]),
        "Comment": entry["Comment"],
    }


def _event_line(event: dict[str, Any]) -> str:
    """`position  time  type  what  by whom, in which job`."""
    what = event.get("Reference") or event.get("Origin") or ""
    moment = local_created(event["Time"] // 10**9)
    return f"{event['Position']:>8}  {moment}  {event['Type']:<20} {what}  by {event['Actor']}, job {event['Job'][:12]}"


def _prune(context: Context, options: Options) -> int:
    asked = list(options["filter"])
    if options["all"]:
        asked.append(("dangling", "false"))
    what = "all images without at least one container associated to them" if options["all"] else "all dangling images"
    if not options["force"] and not _confirmed(
        context, f"WARNING! This will remove {what}.\nAre you sure you want to continue?"
    ):
        return 0
    pruned = context.client().value("POST", "/images/prune", filters(asked))
    if pruned["ImagesDeleted"]:
        context.line("Deleted Images:")
        for entry in pruned["ImagesDeleted"]:
            for word, text in entry.items():
                context.line(printable(f"{word.lower()}: {text}"))
        context.line("")
    context.line(f"Total reclaimed space: {human_size(pruned['SpaceReclaimed'])}")
    return 0


def _confirmed(context: Context, question: str) -> bool:
    context.write(f"{question} [y/N] ")
    context.flush()
    answer = os.read(0, 100)
    return answer.strip().lower() in (b"y", b"yes")


def _usage(context: Context, options: Options) -> int:
    usage = context.client().value("GET", "/system/df")
    if options["verbose"]:
        _verbose(context, usage)
        return 0
    print_rows(context, _usage_rows(usage), options["format"], _USAGE, "Type TotalCount Active Size Reclaimable")
    return 0


def _usage_rows(usage: dict[str, Any]) -> list[dict[str, Any]]:
    images, containers = usage["Images"], usage["Containers"]
    active = [image for image in images if image["Containers"]]
    used = sum(image["Size"] - image["SharedSize"] for image in active)
    running = [container for container in containers if container["State"] in ("running", "paused")]
    written = sum(container["SizeRw"] for container in containers)
    idle = written - sum(container["SizeRw"] for container in running)
    return [
        _usage_row("Images", len(images), len(active), usage["LayersSize"], max(usage["LayersSize"] - used, 0)),
        _usage_row("Containers", len(containers), len(running), written, idle),
        _usage_row("Local Volumes", 0, 0, 0, 0),
        _usage_row("Build Cache", 0, 0, 0, 0),
    ]


def _usage_row(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return {
        "Type": kind, "TotalCount": str(total), "Active": str(active), "Size": human_size(size),
        "Reclaimable": human_size(reclaimable) + (share if kind in ("Images", "Containers") else ""),
    }  # fmt: skip


def _verbose(context: Context, usage: dict[str, Any]) -> None:
    now = time.time_ns()
    lines = [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]]
    for image in usage["Images"]:
        repository, _, tag = ((image["RepoTags"] or ["<none>:<none>"])[0]).rpartition(":")
        created = human_duration(max(0, now - image["Created"] * 10**9)) + " ago"
        sizes = (image["Size"], image["SharedSize"], image["Size"] - image["SharedSize"])
        lines.append(
            [
                printable(repository),
                printable(tag),
                short_id(image["Id"]),
                created,
                *map(human_size, sizes),
                str(image["Containers"]),
            ]
        )
    context.write("Images space usage:\n\n" + table(lines))
    lines = [["CONTAINER ID", "IMAGE", "SIZE", "STATUS", "NAMES"]]
    for container in usage["Containers"]:
        names = ",".join(name.lstrip("/") for name in container["Names"])
        shown = (container["Image"], human_size(container["SizeRw"]), container["Status"], names)
        lines.append([short_id(container["Id"]), *map(printable, shown)])
    context.write("\nContainers space usage:\n\n" + table(lines))


SAVE = Command(
    "docket save", "Write images into a tar archive",
    (("output", "o", "string", "", "Write to a file instead of standard output"),),
    _save, "IMAGE [IMAGE...]", 1, -1, aliases=("docket image save", "docket save"),
)  # fmt: skip
LOAD = Command(
    "docket load", "Take images out of a tar archive",
    (
        ("input", "i", "string", "", "Read from a file instead of standard input"),
        ("quiet", "q", "bool", False, "Say nothing but the images' names"),
    ),
    _load, "", 0, 0, aliases=("docket image load", "docket load"),
)  # fmt: skip
HISTORY = Command(
    "docket history", "Show how an image came to be",
    (
        ("events", "", "bool", False, "Show the events of the log that made and named the image here"),
        ("format", "", "string", "", "Print by a Go template, as json, or as a table of a template's fields"),
        ("human", "H", "bool", True, "Print sizes and times for people"),
        ("no-trunc", "", "bool", False, "Cut nothing off"),
        ("quiet", "q", "bool", False, "Show ids only"),
    ),
    _history, "IMAGE", 1, 1, aliases=("docket image history", "docket history"),
)  # fmt: skip
PRUNE = Command(
    "docket image prune", "Remove images that nobody uses",
    (
        ("all", "a", "bool", False, "Remove all that no container uses, not just those without a name"),
        ("filter", "", "filter", (), "Remove those that match, such as until=24h"),
        ("force", "f", "bool", False, "Ask nothing"),
    ),
    _prune,
)  # fmt: skip
DF = Command(
    "docket system df", "Show how much disk images and containers take",
    (
        ("format", "", "string", "", "Print by a Go template, as json, or as a table of a template's fields"),
        ("verbose", "v", "bool", False, "Show each image and each container"),
    ),
    _usage,
)  # fmt: skip

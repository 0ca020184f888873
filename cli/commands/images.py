"""Images: `images`, `import`, `tag`, `rmi` and `pull`, also as `docket image …`."""

from __future__ import annotations

import os
import time

from docket.cli.client import quote
from docket.cli.errors import CliError, EngineError
from docket.cli.formatting import filters, human_size, print_rows, short_id
from docket.cli.options import Command
from docket.cli.sanitise import printable
from docket.cli.times import human_duration, local_created

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import Options

_TITLES = {
    "ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT", "Size": "SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE", "Containers": "CONTAINERS",
}  # fmt: skip


def _list(context: Context, options: Options) -> int:
    pairs = list(options["filter"])
    if options.args:
        pairs.append(("reference", options.args[0]))
    query = ([("all", "1")] if options["all"] else []) + filters(pairs)
    now = time.time_ns()
    if options["at"]:
        from docket.cli.commands.at import at_query

        query += at_query(options["at"], now)
    images = context.client().value("GET", "/images/json", query)
    rows = [row for image in images for row in _rows(image, options, now)]
    if options["quiet"] and not options["format"]:
        for row in rows:
            context.line(row["ID"])
        return 0
    digest = " Digest" if options["digests"] else ""
    print_rows(context, rows, options["format"], _TITLES, f"Repository Tag{digest} ID CreatedSince Size")
    return 0


def _rows(image: dict[str, Any], options: Options, now: int) -> Iterator[dict[str, Any]]:
    """One row for each name; an image without one has `<none>`."""
    from docket.cli.pulling import split_tag

    digests = dict(reversed([text.partition("@")[::2] for text in image.get("RepoDigests") or () if "@" in text]))
    names = [split_tag(name) for name in image.get("RepoTags") or () if name != "<none>:<none>"]
    untagged = [(name, "<none>") for name in digests if name not in {repository for repository, _ in names}]
    for repository, tag in names + untagged or [("<none>", "<none>")]:
        digest = digests.get(repository, "<none>") if options["digests"] or ".Digest" in options["format"] else "<none>"
        yield {
            "ID": short_id(image["Id"], options["no-trunc"]),
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "CreatedSince": human_duration(max(0, now - image["Created"] * 10**9)) + " ago",
            "CreatedAt": local_created(image["Created"]),
            "Size": human_size(image["Size"]),
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
            "VirtualSize": human_size(image["Size"], 4),
            "Containers": "N/A",
        }


def _import(context: Context, options: Options) -> int:
    from docket.domain.compact_json import loads

    source, *names = options.args
    remote = source.startswith(("http://", "https://"))
    query = [("fromSrc", source if remote else "-")]
    query += [("repo", names[0])] if names else []
    query += [("message", options["message"])] if options["message"] else []
    query += [("platform", options["platform"])] if options["platform"] else []
    query += [("changes", change) for change in options["change"]]
    client = context.client()
    if remote:
        response = client.request("POST", "/images/create", query)
    else:
        response = client.upload("POST", "/images/create", query, _pieces(_open_source(source)))
    for line in response.lines():
        message = loads(line)
        if message.get("error"):
            raise CliError(printable(str(message["error"])))
        if message.get("status"):
            context.line(printable(str(message["status"])))
    return 0


def _open_source(source: str) -> int:
    """A descriptor of the archive. A terminal is no archive: say so rather than wait for one to be typed."""
    if source == "-":
        if os.isatty(0):
            raise CliError("import - reads a tar archive from standard input, which is a terminal: redirect a file into it")
        return 0
    try:
        return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CliError(f"open {printable(source)}: {(error.strerror or str(error)).lower()}") from None


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, 1 << 18):
        yield piece


def _tag(context: Context, options: Options) -> int:
    from docket.cli.pulling import full_name

    source, target = options.args
    if "@" in target:
        raise CliError("refusing to create a tag with a digest reference")
    repository, tag = full_name(target)
    context.client().request("POST", f"/images/{quote(source, '/:')}/tag", [("repo", repository), ("tag", tag)]).read()
    return 0


def _remove(context: Context, options: Options) -> int:
    query = [("force", "1")] if options["force"] else []
    query += [("noprune", "1")] if options["no-prune"] else []
    failed = False
    for name in options.args:
        try:
            removed = context.client().value("DELETE", f"/images/{quote(name, '/:')}", query)
        except EngineError as error:
            context.warn(error.message)
            failed = failed or not (options["force"] and error.code == 404)
            continue
        for entry in removed or ():
            for word, text in entry.items():
                context.line(printable(f"{word}: {text}"))
    return int(failed)


def _pull(context: Context, options: Options) -> int:
    from docket.cli.pulling import pull

    context.flush()
    pull(context, options.args[0], options["platform"], None if options["quiet"] else 1)
    if options["quiet"]:
        context.line(printable(options.args[0]))
    return 0


IMAGES = Command(
    "docket images", "List images",
    (
        ("all", "a", "bool", False, "Show intermediate images as well"),
        ("at", "", "string", "", "Show them as they were at a time, a duration ago, or a position of the log"),
        ("digests", "", "bool", False, "Show digests"),
        ("filter", "f", "filter", (), "Show those that match"),
        ("format", "", "string", "", "Print by a Go template, as json, or as a table of a template's fields"),
        ("no-trunc", "", "bool", False, "Cut nothing off"),
        ("quiet", "q", "bool", False, "Show ids only"),
    ),
    _list, "[REPOSITORY[:TAG]]", 0, 1, aliases=("docket image ls", "docket image list", "docket images"),
)  # fmt: skip
IMPORT = Command(
    "docket import", "Make an image from a tar archive of a file system",
    (
        ("change", "c", "list", (), "Apply a Dockerfile instruction to the image"),
        ("message", "m", "string", "", "Message to keep in the image's history"),
        ("platform", "", "string", "", "Platform of the image"),
    ),
    _import, "file|URL|- [REPOSITORY[:TAG]]", 1, 2, aliases=("docket image import", "docket import"),
)  # fmt: skip
TAG = Command(
    "docket tag", "Give an image another name", (), _tag, "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", 2, 2,
    aliases=("docket image tag", "docket tag"),
)  # fmt: skip
RMI = Command(
    "docket rmi", "Remove images",
    (
        ("force", "f", "bool", False, "Remove it although it is in use or has several names"),
        ("no-prune", "", "bool", False, "Keep untagged parents"),
    ),
    _remove, "IMAGE [IMAGE...]", 1, -1, aliases=("docket image rm", "docket image remove", "docket rmi"),
)  # fmt: skip
PULL = Command(
    "docket pull", "Fetch an image from a registry",
    (
        ("platform", "", "string", "", "Platform of the image, such as linux/amd64"),
        ("quiet", "q", "bool", False, "Say nothing but the name"),
    ),
    _pull, "NAME[:TAG|@DIGEST]", 1, 1, aliases=("docket image pull", "docket pull"),
)  # fmt: skip

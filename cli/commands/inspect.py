"""`docket inspect`: everything that is known about containers and images, as JSON or by a template."""

from __future__ import annotations

import time

from docket.cli.client import quote
from docket.cli.errors import CliError, EngineError
from docket.cli.formatting import render_value
from docket.cli.json_light import dumps, dumps_indented
from docket.cli.options import Command
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from docket.cli.context import Context
    from docket.cli.options import FlagData, Handler, Options

_FORMAT: FlagData = ("format", "f", "string", "", "Print by a Go template, or as json on one line")
_AT: FlagData = ("at", "", "string", "", "Show it as it was at a time, a duration ago, or a position of the log")
_SIZE: FlagData = ("size", "s", "bool", False, "Show the sizes of containers")
_PLURALS = {"container": "containers", "image": "images"}


def _handler(fixed_type: str) -> Handler:
    def handle(context: Context, options: Options) -> int:
        kind = fixed_type or options["type"]
        if kind and kind not in _PLURALS:
            raise CliError(f'"{printable(kind)}" is not a valid value for --type: container or image')
        found, failures = _find_all(options.args, _finder(context, options, kind))
        form = options["format"]
        if form == "json":
            context.line(dumps(found))
        elif form:
            for value in found:
                context.line(render_value(form, value))
        else:
            context.line(dumps_indented(found))
        for failure in failures:
            context.warn(failure)
        return int(bool(failures))

    return handle


def _find_all(names: list[str], find: Callable[[str], Any]) -> tuple[list[Any], list[str]]:
    """What was found, and the complaints about the rest."""
    found, failures = [], []
    for name in names:
        try:
            found.append(find(name))
        except EngineError as error:
            failures.append(error.message)
        except LookupError:
            failures.append(f"Error: No such object: {printable(name)}")
    return found, failures


def _finder(context: Context, options: Options, kind: str) -> Callable[[str], Any]:
    """Finds an object of one kind, or of whichever kind has the name, containers first."""
    query: list[tuple[str, str]] = []
    if options["at"]:
        from docket.cli.commands.at import at_query

        query = at_query(options["at"], time.time_ns())

    def find(name: str) -> Any:
        for plural in [_PLURALS[kind]] if kind else _PLURALS.values():
            sized = [("size", "1")] if plural == "containers" and options["size"] else []
            try:
                return context.client().value("GET", f"/{plural}/{quote(name, '/:')}/json", query + sized)
            except EngineError as error:
                if kind or error.code != 404:
                    raise
        raise LookupError(name)

    return find


INSPECT = Command(
    "docket inspect", "Show all that is known about objects",
    (_AT, _FORMAT, _SIZE, ("type", "", "string", "", "Look for one kind only: container, image")),
    _handler(""), "NAME|ID [NAME|ID...]", 1, -1,
)  # fmt: skip
CONTAINER_INSPECT = Command(
    "docket container inspect", "Show all that is known about containers", (_AT, _FORMAT, _SIZE),
    _handler("container"), "CONTAINER [CONTAINER...]", 1, -1,
)  # fmt: skip
IMAGE_INSPECT = Command(
    "docket image inspect", "Show all that is known about images", (_AT, _FORMAT), _handler("image"), "IMAGE [IMAGE...]", 1, -1,
)  # fmt: skip

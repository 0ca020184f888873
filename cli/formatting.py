"""Tables, sizes, ports and the `--format` of list commands, laid out as Docker's.

A list command gives rows: dicts from field name to a string, or to a function for fields that are costly or take an argument.
Cells of tables are always made safe for a terminal (S55). What a template prints is made safe when it goes to a terminal, and is
left alone when it goes to a file or a pipe, where scripts want the exact value.
"""

from __future__ import annotations

import os

from docket.cli.errors import CliError
from docket.cli.sanitise import printable, printable_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from docket.cli.context import Context

    Row = dict[str, Any]

_SHORT_ID = 12


def table(lines: list[list[str]], least: int = 10) -> str:
    """Columns three blanks apart and at least `least` wide; the last column is not padded."""
    if not lines:
        return ""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(least, max(len(line[index]) for line in lines) + 3) for index in range(len(lines[0]) - 1)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1] + "\n" for line in lines
    )


def print_rows(context: Context, rows: Iterable[Row], form: str, titles: dict[str, str], columns: str) -> None:
    """Prints rows by `--format`: `table` (or nothing) with the named columns, `table TEMPLATE`, `json`, or a template per row."""
    if form in ("", "table"):
        names = columns.split()
        lines = [[titles[name] for name in names]]
        lines += [[_cell(row[name]) for name in names] for row in rows]
        context.write(table(lines))
        return
    if form == "json":
        from docket.cli.json_light import dumps

        for row in rows:
            context.line(
                dumps({name: value() if callable(value) else value for name, value in sorted(row.items()) if name != "Label"})
            )
        return
    template = _template(form.removeprefix("table").lstrip() if form.startswith("table") else form)
    try:
        if form.startswith("table"):
            texts = [template.header(titles), *(template.render(row) for row in rows)]
            context.write(_tabbed(texts))
            return
        clean = for_terminal()
        for row in rows:
            context.line(clean(template.render(row)))
    except Exception as error:
        raise _failed(error) from None


def _cell(value: Any) -> str:
    return str(value() if callable(value) else value)


def _tabbed(texts: list[str]) -> str:
    lines = [text.split("\t") for text in texts]
    most = max(len(line) for line in lines)
    return table([line + [""] * (most - len(line)) for line in lines])


def _template(text: str) -> Any:
    from docket.cli.template import Template
    from docket.cli.template_parser import TemplateError

    try:
        # A backslash in a shell's single quotes reaches us as two characters; Docker understands \t and \n.
        return Template(text.replace("\\t", "\t").replace("\\n", "\n"))
    except TemplateError as error:
        raise CliError(f"failed to parse template: template: :1: {error}") from None


def _failed(error: Exception) -> Exception:
    from docket.cli.template_parser import TemplateError

    return CliError(f"failed to execute template: template: :1: {error}") if isinstance(error, TemplateError) else error


def render_value(form: str, value: Any) -> str:
    """One object by a template (`json` is all of it), for `inspect`, `info` and `version`; raises CliError."""
    from docket.cli.template import Template
    from docket.cli.template_parser import TemplateError

    try:
        template = Template("{{json .}}" if form == "json" else form)
    except TemplateError as error:
        raise CliError(f"template parsing error: template: :1: {error}", 64) from None
    try:
        return str(for_terminal()(template.render(value)))
    except TemplateError as error:
        raise CliError(f"template parsing error: template: :1: {error}") from None


def for_terminal() -> Any:
    """A cleaner of text when standard output is a terminal, else the identity."""
    return printable_text if os.isatty(1) else lambda text: text


def short_id(identifier: str, full: bool = False) -> str:
    """The first twelve digits of an id, without `sha256:`."""
    return identifier if full else identifier.removeprefix("sha256:")[:_SHORT_ID]


def ellipsis(text: str, length: int) -> str:
    """At most `length` characters, the last of them `…` when something was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{units[index]}"


def human_size(size: float, digits: int = 3) -> str:
    """A size in powers of 1000: `12.3kB`."""
    return _scaled(float(size), 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), digits)


def binary_size(size: float) -> str:
    """A size in powers of 1024: `7.759GiB`."""
    return _scaled(float(size), 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), 4)


def ports(entries: list[dict[str, Any]]) -> str:
    """`53/udp, 443-444/tcp, 0.0.0.0:8080->80/tcp`: ports in a row are joined, unless they map to a port of another number."""
    groups: dict[str, list[int]] = {}
    result: list[str] = []
    mapped: list[str] = []
    for entry in sorted(entries, key=_port_order):
        address, private, public, protocol = (
            entry.get("IP", ""),
            entry["PrivatePort"],
            entry.get("PublicPort", 0),
            entry["Type"],
        )
        shown = f"[{address}]" if ":" in address else address
        key = protocol
        if address:
            if public != private:
                mapped.append(f"{shown}:{public}->{private}/{protocol}")
                continue
            key = f"{shown}/{protocol}"
        group = groups.get(key)
        if group is None:
            groups[key] = [private, private]
        elif private == group[1] + 1:
            group[1] = private
        else:
            result.append(_port_group(key, *group))
            groups[key] = [private, private]
    result += [_port_group(key, *group) for key, group in groups.items()]
    return ", ".join([*result, *mapped])


def _port_order(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["PrivatePort"], entry.get("IP", ""), entry.get("PublicPort", 0), entry["Type"]


def _port_group(key: str, first: int, last: int) -> str:
    address, slash, protocol = key.rpartition("/")
    span = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{span}->{span}/{protocol}" if slash else f"{span}/{protocol}"


def filters(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """`--filter` as the query that the API takes."""
    from docket.cli.json_light import dumps

    if not pairs:
        return []
    grouped: dict[str, dict[str, bool]] = {}
    for name, value in pairs:
        grouped.setdefault(name, {})[value] = True
    return [("filters", dumps(grouped, sort_keys=True))]

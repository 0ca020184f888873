"""`--at`: the moment of the log that `ps`, `inspect` and `images` show."""

from __future__ import annotations

from docket.cli.errors import CliError
from docket.cli.times import moment


def at_query(text: str, now: int) -> list[tuple[str, str]]:
    """`--at` as the API's query: a position as it is, anything else as a time."""
    try:
        return [("at", moment(text, now))]
    except ValueError as error:
        raise CliError(str(error)) from None

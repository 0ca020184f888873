"""Times as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from docket.adapters.http import HttpError

NEVER = "0001-01-01T00:00:00Z"
_MOST_DIGITS = 12
"""Of whole seconds; more are no time that anybody means."""


def rfc3339(time_ns: int) -> str:
    """UTC with nine digits; 0 is a time never reached."""
    if not time_ns:
        return NEVER
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_time(text: str | None) -> int:
    """Seconds with a fraction up to nine digits, or RFC 3339, as nanoseconds; 0 when not given. Raises `HttpError`."""
    if not text or text == "0":
        return 0
    whole, _, fraction = text.partition(".")
    if (
        whole.isascii()
        and whole.isdigit()
        and len(whole) <= _MOST_DIGITS
        and fraction.isascii()
        and (not fraction or fraction.isdigit())
    ):
        return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise HttpError(400, f"invalid time {text[:64]!r}: give seconds or RFC 3339") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (int(moment.timestamp()) * 1_000_000 + moment.microsecond) * 1000

"""Times as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime

NEVER = "0001-01-01T00:00:00Z"


def rfc3339(time_ns: int) -> str:
    """UTC with nine digits; 0 is a time never reached."""
    if not time_ns:
        return NEVER
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"

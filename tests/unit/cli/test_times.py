"""Times that users write and ages that they read."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.cli.times import human_duration, moment, parse_rfc3339, rfc3339, timestamp

NOW = 1767225600 * 10**9  # 2026-01-01T00:00:00Z


@given(st.datetimes(min_value=datetime.datetime(1970, 1, 2), max_value=datetime.datetime(2200, 1, 1)))
def test_utc_times_are_read_as_the_calendar_says(value: datetime.datetime) -> None:
    """The calendar arithmetic agrees with datetime's, to the microsecond."""
    expected = value.replace(tzinfo=datetime.UTC)
    nanos = parse_rfc3339(value.isoformat() + "Z")
    assert nanos == (expected - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1) * 1000
    assert parse_rfc3339(rfc3339(nanos)) == nanos


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T01:00:00+01:00", NOW),
        ("2025-12-31T19:00:00.5-05:00", NOW + 5 * 10**8),
        ("2026-01-01T00:00:00.123456789Z", NOW + 123456789),
        ("2026-01-01 00:00Z", NOW),
    ],
)
def test_forms(text: str, nanos: int) -> None:
    """Zones, fractions and short forms."""
    assert parse_rfc3339(text) == nanos


@pytest.mark.parametrize(
    "text", ["", "x", "2026", "2026-13-01", "2026-01-01T25:00:00Z", "2026-01-01Tx", "2026-01-01T00:00:00.xZ", "2026-1-1"]
)
def test_times_that_are_none(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="invalid time"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("10m", "1767225000.000000000"),
        ("1767225600", "1767225600"),
        ("5.25", "5.25"),
        ("2026-01-01T00:00:00Z", "1767225600.000000000"),
    ],
)
def test_timestamps(text: str, sent: str) -> None:
    """Durations count back, numbers are seconds, the rest is a time."""
    assert timestamp(text, NOW) == sent


def test_moments() -> None:
    """A plain number is a position of the log."""
    assert moment("17", NOW) == "17"
    assert moment("1s", NOW) == "2025-12-31T23:59:59.000000000Z"
    with pytest.raises(ValueError, match="--at takes"):
        moment("noon", NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (120, "2 minutes"),
        (3599, "59 minutes"), (3600, "About an hour"), (5399, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"), (60 * 86400, "2 months"),
        (729 * 86400, "24 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    """go-units' words and limits."""
    assert human_duration(seconds * 10**9) == text

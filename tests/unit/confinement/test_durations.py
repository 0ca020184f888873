"""Durations in Go's notation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement.durations import parse_duration
from docket.domain.errors import Rejected

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("10s", 10 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("1.5s", 1500000000),
        ("-10ms", -10000000),
        ("+5m", 300 * SECOND),
        ("1us", 1000),
        ("1µs", 1000),
        ("1μs", 1000),
        ("3ns", 3),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("1m1m", 120 * SECOND),
    ],
)
def test_what_go_reads(text: str, nanoseconds: int) -> None:
    """time.ParseDuration."""
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("abc", 'time: invalid duration "abc"'),
        (".s", 'time: invalid duration ".s"'),
        ("1.2.3s", 'time: invalid duration "1.2.3s"'),
        ("10", 'time: missing unit in duration "10"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("9999999999h", 'time: invalid duration "9999999999h"'),
        ("1s\x1b", 'time: unknown unit "s\\x1b" in duration "1s\\x1b"'),
    ],
)
def test_what_go_refuses_in_its_words(text: str, message: str) -> None:
    """Without echoing control characters."""
    with pytest.raises(Rejected) as caught:
        parse_duration(text)
    assert str(caught.value) == message


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 999_999_999))
def test_hours_minutes_and_fractions_add_up_exactly(hours: int, minutes: int, nanos: int) -> None:
    """No floating point anywhere."""
    assert parse_duration(f"{hours}h{minutes}m0.{nanos:09d}s") == (hours * 3600 + minutes * 60) * SECOND + nanos

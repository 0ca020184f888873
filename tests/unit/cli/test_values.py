"""Sizes, durations and numbers as flags take them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.cli.values import parse_bool, parse_duration, parse_int, parse_nano_cpus, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1", 1), ("64m", 64 << 20), ("64M", 64 << 20), ("64mb", 64 << 20), ("64MiB", 64 << 20), ("1.5g", 3 << 29),
        ("10 k", 10240), ("5b", 5), ("2t", 2 << 40), (".5k", 512), ("4kib", 4096),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    """Units are powers of 1024, in any case, with or without the b."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "m", "-1", "5q", "5kx", "1.2.3k", "1  k", "5bb", "0x10", "٣m", "5kbb", " 5", "\x1b5"]
)
def test_sizes_that_are_none(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r"invalid (size|suffix|syntax)"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0), ("1s", 10**9), ("1m30s", 90 * 10**9), ("1.5h", 5400 * 10**9), ("-10ms", -(10**7)), ("3us", 3000), ("7ns", 7),
        (".5s", 5 * 10**8), ("1h0m0.25s", 3600 * 10**9 + 25 * 10**7),
    ],
)  # fmt: skip
def test_durations(text: str, nanoseconds: int) -> None:
    """Go's notation."""
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "1 s", "--1s", ".s", "1..5s", "x5s", "1s "])
def test_durations_that_are_none(text: str) -> None:
    """A number needs a unit, and a day is none."""
    with pytest.raises(ValueError, match="time: "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "nano"), [("1.5", 1500000000), (".5", 500000000), ("1/2", 500000000), ("-1", -(10**9)), ("2", 2 * 10**9)]
)
def test_cpus(text: str, nano: int) -> None:
    """Decimals and fractions, exactly."""
    assert parse_nano_cpus(text) == nano


@pytest.mark.parametrize("text", ["", "x", "1/0", "1.5/2", "1.0000000001", "--1", "1e3", "."])
def test_cpus_that_are_none(text: str) -> None:
    """Too precise is refused, not rounded."""
    with pytest.raises(ValueError, match=r"rational|precise"):
        parse_nano_cpus(text)


def test_booleans_and_integers() -> None:
    """What Go's strconv takes."""
    assert [parse_bool(text) for text in ("1", "T", "true", "0", "False")] == [True, True, True, False, False]
    assert [parse_int(text) for text in ("5", "-5", "0x10", "0o7")] == [5, -5, 16, 7]
    for text in ("yes", "", "tRUE"):
        with pytest.raises(ValueError, match=r"strconv\.ParseBool"):
            parse_bool(text)
    for text in ("", " 5", "5 ", "x", "1_", "٣"):
        with pytest.raises(ValueError, match=r"strconv\.ParseInt"):
            parse_int(text)
    with pytest.raises(ValueError, match="out of range"):
        parse_int(str(1 << 63))


@given(st.text(max_size=12))
def test_no_text_breaks_a_converter(text: str) -> None:
    """Anything is either a value or a ValueError without control characters."""
    for convert in (parse_size, parse_duration, parse_nano_cpus, parse_int, parse_bool):
        try:
            convert(text)
        except ValueError as error:
            assert str(error).isprintable()

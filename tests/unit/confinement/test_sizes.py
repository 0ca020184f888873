"""Sizes in Docker's notation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement.sizes import parse_size
from docket.domain.errors import Rejected


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("64", 64),
        ("64b", 64),
        ("64k", 65536),
        ("64KB", 65536),
        ("64m", 64 << 20),
        ("64MiB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("1G", 1 << 30),
        ("2t", 2 << 40),
        ("1p", 1 << 50),
        ("0.5k", 512),
        ("1.9999", 1),
        ("8388607t", 8388607 << 40),
    ],
)
def test_units_are_binary(text: str, size: int) -> None:
    """Docker's RAMInBytes; what is left of a byte is dropped."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "k",
        "abc",
        "-1",
        "+1",
        " 1",
        "1  k",
        "1.",
        ".5",
        "1.2.3",
        "1e3",
        "1kk",
        "1bb",
        "1ib",
        "1x",
        "٣m",
        "1_0",
        "9223372036854775808",
        "9999999p",
        "1" * 5000,
        "1\n",
        "NaN",
        "inf",
    ],
)
def test_what_is_no_size_is_refused_in_dockers_words(text: str) -> None:
    """Also what would not fit into 63 bits."""
    with pytest.raises(Rejected, match="invalid size: '"):
        parse_size(text)


@given(st.integers(0, 1 << 40), st.sampled_from(["", "k", "kb", "KiB", "m"]))
def test_whole_numbers_are_exact(number: int, unit: str) -> None:
    """No floating point anywhere."""
    assert parse_size(f"{number}{unit}") == number << {"": 0, "k": 10, "m": 20}[unit[:1].lower()]

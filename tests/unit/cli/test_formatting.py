"""Tables, sizes, ports, ages and times as Docker prints them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.cli.formatting import binary_size, ellipsis, filters, human_size, ports, short_id, table
from docket.cli.sanitise import printable, printable_text


def test_columns_are_padded_and_the_last_is_not() -> None:
    """Three blanks between columns, ten characters at least."""
    assert table([["A", "NAME"], ["a long cell", "x"]]) == "A             NAME\na long cell   x\n"
    assert table([["A", "B"], ["1", "2"]]) == "A         B\n1         2\n"
    assert table([]) == ""


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (12345, "12.3kB"), (4261234, "4.26MB"), (10**12, "1TB")]
)
def test_human_sizes(size: int, text: str) -> None:
    """Powers of 1000, three digits."""
    assert human_size(size) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (1 << 20, "1MiB"), (8331231232, "7.759GiB"), (1536, "1.5KiB")])
def test_binary_sizes(size: int, text: str) -> None:
    """Powers of 1024, four digits."""
    assert binary_size(size) == text


def port(private: int, public: int = 0, address: str = "", protocol: str = "tcp") -> dict[str, Any]:
    entry: dict[str, Any] = {"PrivatePort": private, "Type": protocol}
    return {**entry, "PublicPort": public, "IP": address} if address else entry


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(81), port(80), port(83)], "80-81/tcp, 83/tcp"),
        ([port(53, protocol="udp"), port(53)], "53/tcp, 53/udp"),
        ([port(80, 8080, "0.0.0.0"), port(80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([port(80, 80, "0.0.0.0"), port(81, 81, "0.0.0.0")], "0.0.0.0:80-81->80-81/tcp"),
    ],
)
def test_ports(entries: list[dict[str, Any]], text: str) -> None:
    """Ports in a row are joined; mappings to another number stand for themselves."""
    assert ports(entries) == text


def test_ids_ellipses_and_filters() -> None:
    """Twelve digits; one character says that something was cut; filters are maps of maps."""
    assert short_id("sha256:" + "a" * 64) == "a" * 12
    assert short_id("sha256:ab", full=True) == "sha256:ab"
    assert (ellipsis("abc", 3), ellipsis("abcd", 3)) == ("abc", "ab…")
    assert filters([("label", "b"), ("label", "a"), ("id", "x")]) == [
        ("filters", '{"id":{"x":true},"label":{"a":true,"b":true}}')
    ]
    assert filters([]) == []


@given(st.text())
def test_s55_printable_is_printable_and_leaves_the_rest(text: str) -> None:
    """No control, format or surrogate character stays; printable text is untouched."""
    assert printable(text).isprintable()
    assert all(char.isprintable() or char in "\n\t" for char in printable_text(text))
    if text.isprintable():
        assert printable(text) == text

"""Signals by name and number."""

from __future__ import annotations

import signal
import sys

import pytest

from docket.domain.confinement.signals import NUMBERS, parse_signal, signal_name
from docket.domain.errors import Rejected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigterm", 15),
        ("hup", 1),
        ("15", 15),
        ("1", 1),
        ("64", 64),
        ("034", 34),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmax-1", 63),
        ("RTMAX", 64),
        ("CLD", 17),
        ("POLL", 29),
        ("IOT", 6),
        ("SYS", 31),
    ],
)
def test_names_and_numbers(text: str, number: int) -> None:
    """With and without SIG, in any case."""
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "65", "-9", "+9", " 9", "9 ", "٩", "1_0", "FOO", "SIG", "SIGSIGKILL", "RTMIN+31", "RTMIN+", "KİLL", "KILL\n"],
)
def test_what_is_no_signal_is_refused_in_dockers_words(text: str) -> None:
    """No control character of it is echoed."""
    with pytest.raises(Rejected) as caught:
        parse_signal(text)
    assert str(caught.value).startswith("invalid signal: ")
    assert str(caught.value).isprintable()


def test_every_number_has_a_name_that_means_it() -> None:
    """And the two that libc keeps say only their number."""
    for number in range(1, 65):
        if number in (32, 33):
            assert signal_name(number) == f"signal {number}"
        else:
            assert parse_signal(signal_name(number)) == number


@pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own numbers")
def test_the_numbers_are_linuxs() -> None:
    """The domain may not ask the system, so the table is compared here."""
    for member in signal.Signals:
        assert NUMBERS[member.name.removeprefix("SIG")] == member.value

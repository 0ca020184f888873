"""The number tables: spot checks, structure, and where the system has kernel headers, the whole table."""

from __future__ import annotations

from pathlib import Path

import pytest

from docket.domain.confinement.syscall_arguments import INT_ARGUMENTS
from docket.domain.confinement.syscall_numbers import KNOWN_NAMES, NUMBERS, X32_BIT

HEADERS = Path("/usr/include/x86_64-linux-gnu/asm")


@pytest.mark.parametrize(
    ("name", "x86_64", "i386", "aarch64", "arm"),
    [
        ("read", 0, 3, 63, 3),
        ("execve", 59, 11, 221, 11),
        ("clone", 56, 120, 220, 120),
        ("mount", 165, 21, 40, 21),
        ("seccomp", 317, 354, 277, 383),
        ("bpf", 321, 357, 280, 386),
        ("socket", 41, 359, 198, 281),
        ("pidfd_send_signal", 424, 424, 424, 424),
        ("clone3", 435, 435, 435, 435),
        ("openat2", 437, 437, 437, 437),
        ("mseal", 462, 462, 462, 462),
        ("file_setattr", 469, 469, 469, 469),
    ],
)
def test_numbers_of_well_known_calls(name: str, x86_64: int, i386: int, aarch64: int, arm: int) -> None:
    """Beginning, middle and the newest of Linux 6.18 in each table."""
    assert [NUMBERS[table][name] for table in ("x86_64", "i386", "aarch64", "arm")] == [x86_64, i386, aarch64, arm]


def test_no_two_names_share_a_number() -> None:
    """A table that slipped by one would show here or above."""
    for table in NUMBERS.values():
        assert len(set(table.values())) == len(table)


def test_x32_is_x86_64_with_bit_30_and_some_numbers_of_its_own() -> None:
    """ioctl and execve take pointers of another size, so they have another number."""
    assert NUMBERS["x32"]["read"] == X32_BIT
    assert NUMBERS["x32"]["ioctl"] == X32_BIT | 514
    assert NUMBERS["x32"]["execve"] == X32_BIT | 520
    assert "set_thread_area" not in NUMBERS["x32"]
    assert all(number & X32_BIT for number in NUMBERS["x32"].values())


def test_what_an_architecture_does_not_have() -> None:
    """Old calls are missing where the table began late, private ones stand apart."""
    assert not {"open", "fork", "pipe", "time"} & NUMBERS["aarch64"].keys()
    assert "memfd_secret" not in NUMBERS["arm"]
    assert NUMBERS["arm"]["set_tls"] == 0xF0005


def test_int_arguments_name_calls_that_exist() -> None:
    """A misspelled name would leave its call compared as 64 bits."""
    assert {name for name, _ in INT_ARGUMENTS} <= KNOWN_NAMES
    assert {index for _, index in INT_ARGUMENTS} <= set(range(6))


@pytest.mark.skipif(not HEADERS.exists(), reason="compares with the kernel headers of x86_64: install linux-libc-dev")
@pytest.mark.parametrize(("table", "header"), [("x86_64", "unistd_64.h"), ("i386", "unistd_32.h"), ("x32", "unistd_x32.h")])
def test_the_tables_hold_everything_that_the_headers_hold(table: str, header: str) -> None:
    """The headers may be older or newer; what both know has the same number."""
    found = {}
    for line in (HEADERS / header).read_text().splitlines():
        words = line.replace("(__X32_SYSCALL_BIT +", "").replace(")", "").split()
        if len(words) == 3 and words[1].startswith("__NR_") and words[2].isdigit():
            found[words[1].removeprefix("__NR_")] = int(words[2]) | (X32_BIT if table == "x32" else 0)
    newest = NUMBERS[table]["file_setattr"]
    expected = {name: number for name, number in found.items() if number <= newest or number & ~X32_BIT >= 512}
    assert len(expected) > 300
    assert expected.items() <= NUMBERS[table].items()

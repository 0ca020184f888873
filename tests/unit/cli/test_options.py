"""The option parser behaves as pflag does for Docker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.cli.errors import UsageError
from docket.cli.options import Command, Options, parse

FLAGS = (
    ("interactive", "i", "bool", False, "Keep standard input open"),
    ("tty", "t", "bool", False, "Give a terminal"),
    ("name", "n", "string", "", "Name"),
    ("env", "e", "env", (), "Variable"),
    ("memory", "m", "bytes", 0, "Memory"),
    ("platform", "", "strings", (), "Platforms"),
)
FREE = Command("docket x", "Does x", FLAGS, None, "[ARG...]", 0, -1, synonyms={"nom": "name"})
STRICT = Command("docket x", "Does x", FLAGS, None, "IMAGE [ARG...]", 1, -1, interspersed=False)


def values(options: Options) -> dict[str, Any]:
    return {name: value for name, value in options.as_dict().items() if options.given(name)}


@pytest.mark.parametrize(
    ("line", "expected", "args"),
    [
        ("-it a", {"interactive": True, "tty": True}, ["a"]),
        ("-itn x", {"interactive": True, "tty": True, "name": "x"}, []),
        ("-itnx", {"interactive": True, "tty": True, "name": "x"}, []),
        ("-n=x -i=false", {"name": "x", "interactive": False}, []),
        ("--name=x --memory 1k", {"name": "x", "memory": 1024}, []),
        ("--name= a", {"name": ""}, ["a"]),
        ("--nom x", {"name": "x"}, []),
        ("-e A=1 -eB=2 --env C=3", {"env": ["A=1", "B=2", "C=3"]}, []),
        ("--platform a,b --platform c", {"platform": ["a", "b", "c"]}, []),
        ("a -i b", {"interactive": True}, ["a", "b"]),
        ("-- -i", {}, ["-i"]),
        ("-", {}, ["-"]),
        ("--name -i", {"name": "-i"}, []),
        ("--tty=false", {"tty": False}, []),
    ],
)
def test_flags(line: str, expected: dict[str, Any], args: list[str]) -> None:
    """Every spelling that Docker's users know."""
    options = parse(FREE, line.split(" "))
    assert (values(options), options.args) == (expected, args)


def test_flags_end_at_the_first_argument() -> None:
    """What follows the image belongs to the container."""
    options = parse(STRICT, ["-i", "image", "-t", "--name", "x", "--", "y"])
    assert (values(options), options.args) == ({"interactive": True}, ["image", "-t", "--name", "x", "--", "y"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--foo", "unknown flag: --foo"),
        ("--foo=x", "unknown flag: --foo"),
        ("-iZ", "unknown shorthand flag: 'Z' in -iZ"),
        ("--name", "flag needs an argument: --name"),
        ("-in", "flag needs an argument: 'n' in -in"),
        ("-m x", 'invalid argument "x" for "-m, --memory" flag: invalid size: \'x\''),
    ],
)
def test_complaints(line: str, message: str) -> None:
    """Docker's words."""
    with pytest.raises(UsageError) as caught:
        parse(FREE, line.split(" "))
    assert (caught.value.message, caught.value.status) == (message, 125)


def test_help_needs_no_arguments() -> None:
    """`--help` wins over missing arguments, but only where flags are still read."""
    assert parse(STRICT, ["--help"]).help
    assert parse(STRICT, ["-h"]).help
    assert not parse(STRICT, ["image", "--help"]).help


@pytest.mark.parametrize(
    ("least", "most", "count", "message"),
    [
        (1, 1, 0, "'docket x' requires 1 argument"),
        (2, 2, 1, "'docket x' requires 2 arguments"),
        (1, -1, 0, "'docket x' requires at least 1 argument"),
        (0, 1, 2, "'docket x' requires at most 1 argument"),
        (0, 0, 1, "'docket x' accepts no arguments"),
    ],
)
def test_counts(least: int, most: int, count: int, message: str) -> None:
    """Too few and too many arguments."""
    with pytest.raises(UsageError) as caught:
        parse(Command("docket x", "", (), None, "", least, most), ["a"] * count)
    assert (caught.value.message, caught.value.status) == (message, 1)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_no_command_line_breaks_the_parser(words: list[str]) -> None:
    """Every vector is read or refused with one printable message."""
    for command in (FREE, STRICT):
        try:
            parse(command, words)
        except UsageError as error:
            assert error.message.isprintable()

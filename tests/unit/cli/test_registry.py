"""The table of commands says the truth, and help exists for all of them."""

from __future__ import annotations

import importlib

import pytest

from docket.cli.options import Command
from docket.cli.registry import COMMANDS, GROUPED_ONLY, GROUPS, row
from docket.cli.usage import command_help
from docket.cli.values import KINDS

NAMES = [*COMMANDS, *GROUPED_ONLY]


def load(name: str) -> Command:
    module, attribute, _ = row(name)
    command: Command = getattr(importlib.import_module(f"docket.cli.commands.{module}"), attribute)
    return command


@pytest.mark.parametrize("name", NAMES)
def test_each_row_is_its_command(name: str) -> None:
    """The summary in the table is the command's own, and every flag is of a known kind, once."""
    command = load(name)
    assert command.summary == row(name)[2]
    assert command.path.removeprefix("docket ").replace(" ", "-") == name
    assert all(flag[2] in KINDS for flag in command.flags)
    long_names = [flag[0] for flag in command.flags]
    short_names = [flag[1] for flag in command.flags if flag[1]]
    assert len(set(long_names)) == len(long_names)
    assert len(set(short_names)) == len(short_names)
    assert command.handler is not None


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_flag(name: str) -> None:
    """Usage line, summary and each flag with its meaning, none wider than the terminal."""
    command = load(name)
    text = command_help(command)
    assert text.startswith(f"Usage:  {command.usage_line()}\n\n{command.summary}\n")
    assert all(f"--{flag[0]}" in text for flag in command.flags)


def test_groups_lead_to_commands() -> None:
    """Every grouped word is a command."""
    for _, members in GROUPS.values():
        for name in members.values():
            assert row(name)

"""What the documents name exists: links, files, recipes, steps of the test run, and docket's commands with their flags."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from docket.cli.main import _GLOBAL
from docket.cli.options import Command, parse
from docket.cli.registry import COMMANDS, row

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")])
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
FOLDERS = "adapters|benchmarks|changelog.d|cli|docs|domain|event_store|kernel|scripts|src|tests|vm"
INDENT = "    "


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(markdown: str) -> set[str]:
    """The names of a document's headings, as forges make them."""
    titles = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def spans(markdown: str) -> list[str]:
    """Everything in backticks on one line."""
    return re.findall(r"`([^`\n]+)`", markdown)


def typed(markdown: str) -> list[str]:
    """What somebody would type: lines behind a prompt, and lines that are a script of the project."""
    lines = [line.strip() for line in markdown.splitlines() if line.startswith(INDENT)]
    return [line.removeprefix("$ ") for line in lines if line.startswith(("$ ", "scripts/", "vm/"))]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """A link to a file of the project finds it, and one to a heading finds that."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("name", NAMES)
def test_the_files_that_are_named_exist(name: str) -> None:
    """A path in backticks is one of the project's; words in capitals in it stand for anything."""
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./*-]*)", text_of(name)):
        pattern = re.sub(r"[A-Z]{3,}", "*", path.rstrip("/."))
        assert list(ROOT.glob(pattern)), path


@pytest.mark.parametrize("name", NAMES)
def test_the_recipes_and_steps_that_are_named_exist(name: str) -> None:
    """`make X` is a recipe of the Makefile, and `scripts/test X` a step of it."""
    recipes = set(re.findall(r"^([\w-]+):", text_of("Makefile"), re.MULTILINE))
    steps = set(re.findall(r"one of ([\w ]+)\"", text_of("scripts/test"))[0].split())
    for line in [*typed(text_of(name)), *spans(text_of(name))]:
        first, *rest = line.split()
        if first == "make" and rest:
            assert rest[0] in recipes, line
        if first == "scripts/test":
            assert set(rest) <= steps, line


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_that_are_typed_are_dockets(name: str) -> None:
    """A command line behind a prompt can be typed: its verb, its flags and the number of its arguments are right."""
    for line in typed(text_of(name)):
        if line.startswith("docket "):
            words = shlex.split(re.split(r" [|<>] ", line)[0], comments=True)
            verb, *rest = parse(_GLOBAL, words[1:]).args
            parse(command(verb), rest)


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_that_are_mentioned_are_dockets(name: str) -> None:
    """Prose may leave arguments out, but the verbs and flags that it names exist."""
    for line in spans(text_of(name)):
        found = re.search(r"^docket ([a-z][a-z-]*)(?=\s|$)", line)
        if found:
            known = {flag[0] for flag in command(found[1]).flags}
            assert set(re.findall(r" --([a-z-]+)", line)) <= known, line


def command(verb: str) -> Command:
    """The command that a verb stands for."""
    assert verb in COMMANDS, f"docket has no command {verb}"
    module, attribute, _ = row(verb)
    found = getattr(importlib.import_module(f"docket.cli.commands.{module}"), attribute)
    assert isinstance(found, Command)
    return found


def test_every_recipe_has_a_line_that_says_what_it_does() -> None:
    """The Makefile is the list of daily actions."""
    for line in text_of("Makefile").splitlines():
        if re.search(r"^[\w-]+:", line):
            assert re.search(r"^[\w-]+: +## \w", line), line

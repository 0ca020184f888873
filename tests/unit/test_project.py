"""The project keeps its own promises: the README's commands, the layout, and nothing of any one machine in the files."""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("adapters", "cli", "domain", "event_store", "kernel")
COMMANDS = ("scripts/demo", "scripts/test")
LONGEST_FILE_LINES = 500
# Catalogues may be as long as what they list: one entry for each operation.
TABLES = frozenset({"domain/plan/operations.py"})
# Written apart, so that this file does not match itself.
NOT_IN_FILES = (
    "/" + "work/",
    "/" + "farm/",
    "deb." + "debian.org",
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "proxy." + "golang",
)


def files() -> list[Path]:
    """Every file of the project: what git tracks and what it would track."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


FILES = files()
PYTHON = [path for path in FILES if path.suffix == ".py"]


def name_of(path: Path) -> str:
    """The path as git names it."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_shows_the_two_commands_alone_on_a_line(command: str) -> None:
    """Whoever reads the README can copy one line and it runs."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert command in [line.strip() for line in lines]
    assert os.access(ROOT / command, os.X_OK)


def test_ci_runs_the_readme_test_command() -> None:
    """What CI proves is what the README promises."""
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert script.splitlines()[-1] == "exec scripts/test"
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_no_file_names_a_machine_or_a_package_host() -> None:
    """A checkout works anywhere: no paths of the machine it was written on, no addresses of registries."""
    found = []
    for path in FILES:
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{name_of(path)}: {pattern}" for pattern in NOT_IN_FILES if pattern in text]
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    """Each module opens with a docstring. An empty `__init__.py` has nothing to say."""
    silent = []
    for path in PYTHON:
        text = path.read_text(encoding="utf-8")
        if text.strip() and ast.get_docstring(ast.parse(text)) is None:
            silent.append(name_of(path))
    assert silent == []


def test_no_file_holds_two_things() -> None:
    """Past 500 lines a second noun hides inside a module. One large test module for one unit is fine."""
    too_long = [
        f"{name_of(path)}: {count} lines"
        for path in PYTHON
        if name_of(path) not in TABLES and not path.name.startswith("test_")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE_LINES
    ]
    assert too_long == []


def test_every_test_says_what_it_protects() -> None:
    """A test's docstring states the behaviour that breaks when it fails."""
    silent = [
        f"{name_of(path)}:{node.lineno}: {node.name}"
        for path in PYTHON
        if path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
        if ast.get_docstring(node) is None
    ]
    assert silent == []


def test_the_layers_install_as_docket() -> None:
    """src/docket holds one relative symlink for each of the five folders at the root, and nothing else but itself."""
    links = {path.name: os.readlink(path) for path in (ROOT / "src/docket").iterdir() if path.is_symlink()}
    assert links == {layer: f"../../{layer}" for layer in LAYERS}


def test_the_licence_is_apache_2() -> None:
    """LICENSE is the unabridged text that pyproject.toml names."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_by_hash(lock: str) -> None:
    """An install takes exactly the bytes that were reviewed, from wherever the user's installer fetches them."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip()]
    assert entries
    wrong = [line[:60] for line in entries if not re.search(r"^[\w.\[\]-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]
    assert wrong == []

"""The import rules: dependencies point at the domain, and the process side stays small.

The rules are read from the syntax trees, so a forbidden import is found wherever it hides: inside a function, behind an
`if TYPE_CHECKING`, in a file that no test imports.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("domain", "event_store", "kernel", "adapters", "cli")
MAY_IMPORT = {
    "domain": {"domain"},
    "event_store": {"domain", "event_store"},
    "kernel": {"domain", "kernel"},
    "adapters": {"domain", "adapters"},
    "cli": set(LAYERS),
}
# The only modules that know which adapters there are: for an engine, and for a log that is only looked at.
COMPOSITION_ROOTS = ("cli/bootstrap.py", "cli/daemon.py", "cli/offline.py")

# A decision is a function of the log and the command: it sees no system, no clock and no dice.
NOT_IN_DOMAIN = frozenset(
    """
    _io _posixsubprocess _socket _thread asyncio concurrent ctypes curses errno fcntl ftplib getpass glob grp http imaplib
    importlib io mmap multiprocessing ntpath os pathlib platform posix posixpath pty pwd queue random readline resource
    sched secrets select selectors shutil signal smtplib socket socketserver sqlite3 ssl subprocess sys syslog tempfile
    termios threading time tty urllib.request uuid winreg
    """.split()
)

# The launcher and every shim keep their imported modules in memory as often as there are containers; the CLI pays for
# them at every command.
HEAVY = frozenset(
    """
    argparse asyncio click ctypes.util dataclasses email h11 http inspect logging msgspec pathlib re sqlite3 sqlite_utils ssl
    subprocess tempfile trio typing_extensions urllib.request uuid
    """.split()
)
LEAN = ("kernel/launcher", "kernel/shim", "cli/main.py")

# Imported where none of the modules below exists: what macOS and Windows lack, and what speaks to a kernel.
PORTABLE = ("domain", "event_store", "kernel.fake", "kernel.recording", "kernel.replaying")
LINUX_ONLY = ("fcntl", "termios", "pwd", "grp", "resource", "pty", "tty", "syslog", "spwd", "crypt", "readline", "curses")


def modules(layer: str) -> list[Path]:
    """All modules of a layer."""
    return sorted(path for path in (ROOT / layer).rglob("*.py") if "__pycache__" not in path.parts)


def package_of(path: Path) -> list[str]:
    """The dotted name of the package that holds a module, as a list that begins with docket."""
    return ["docket", *path.relative_to(ROOT).parent.parts]


def imports(path: Path, nodes: Iterator[ast.AST] | None = None) -> Iterator[tuple[int, str]]:
    """Yields the line and the absolute name of everything that a module imports.

    `from a import b` yields both `a` and `a.b`, since b may be a module.
    """
    for node in nodes if nodes is not None else ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            yield node.lineno, module
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def at_module_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields the nodes that run when the module is imported: not function bodies, not `if TYPE_CHECKING`."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending.extend(node.orelse)
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def matches(name: str, forbidden: frozenset[str]) -> bool:
    """Whether a dotted name is one of the forbidden modules or lies inside one."""
    parts = name.split(".")
    return any(".".join(parts[:length]) in forbidden for length in range(1, len(parts) + 1))


def offences(paths: list[Path], wrong: Callable[[str], bool]) -> list[str]:
    """The imports of these modules that are wrong, each with a place that an editor can open."""
    return [f"{path.relative_to(ROOT)}:{line}: {name}" for path in paths for line, name in imports(path) if wrong(name)]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_at_the_domain(layer: str) -> None:
    """A layer imports the domain and itself; only the cli knows them all."""
    others = frozenset(f"docket.{other}" for other in LAYERS if other not in MAY_IMPORT[layer])
    assert offences(modules(layer), lambda name: matches(name, others)) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_are_imported_by_their_installed_name(layer: str) -> None:
    """`import domain` works from the root too and would make a second copy of each class, unequal to the first."""
    assert offences(modules(layer), lambda name: matches(name, frozenset(LAYERS))) == []


def test_the_domain_imports_no_operating_system() -> None:
    """Decisions read no clock, disk, network or randomness: all of it arrives in the command."""
    assert offences(modules("domain"), lambda name: matches(name, NOT_IN_DOMAIN)) == []


def test_only_the_composition_root_chooses_adapters() -> None:
    """Of the cli, only the modules that assemble an engine import driven and driving adapters."""
    others = [path for path in modules("cli") if path.relative_to(ROOT).as_posix() not in COMPOSITION_ROOTS]
    assert offences(others, lambda name: matches(name, frozenset({"docket.adapters"}))) == []


def test_launcher_shim_and_cli_import_nothing_heavy() -> None:
    """What starts for every container or every command stays within its budget of milliseconds and pages."""
    paths = [path for lean in LEAN for path in ([ROOT / lean] if lean.endswith(".py") else sorted((ROOT / lean).rglob("*.py")))]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in paths
        if path.exists()
        for line, name in imports(path, at_module_level(ast.parse(path.read_text(encoding="utf-8"))))
        if matches(name, HEAVY)
    ]
    assert wrong == []


def test_the_rules_find_what_they_forbid() -> None:
    """The check itself works: imports are found in functions, relative ones are resolved, and inner modules count."""
    module = ROOT / "domain/model/example.py"
    tree = ast.parse("from ..jobs import table\ndef late():\n    import os.path\n")
    assert [name for _, name in imports(module, ast.walk(tree))] == [
        "docket.domain.jobs",
        "docket.domain.jobs.table",
        "os.path",
    ]
    assert [name for _, name in imports(module, at_module_level(tree))] == ["docket.domain.jobs", "docket.domain.jobs.table"]
    assert matches("os.path", NOT_IN_DOMAIN)
    assert not matches("osprey", NOT_IN_DOMAIN)


IMPORT_ALL = """
import importlib, json, pkgutil, sys

refused, wanted = json.loads(sys.argv[1]), json.loads(sys.argv[2])


class Refuse:
    # Comes before all other finders: for the modules named, this machine is no Linux.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r} on this platform", name=name)


for name in refused:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refuse())
sys.platform = "unknown"
count = 0
for name in wanted:
    package = importlib.import_module("docket." + name)
    count += 1
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        count += 1
print(count)
"""


def test_the_portable_part_imports_without_linux() -> None:
    """Domain, event store, fake kernel and recordings work where the modules that only Linux has are missing."""
    wanted = [name for name in PORTABLE if (ROOT / Path(*name.split(".")) / "__init__.py").exists()]
    # Libraries may adapt to the system; they are loaded first, and docket's own modules then meet the bare platform.
    script = "import sqlite3, msgspec, sqlite_utils, trio\n" + IMPORT_ALL
    command = [sys.executable, "-c", script, json.dumps(LINUX_ONLY), json.dumps(wanted)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= len(wanted)

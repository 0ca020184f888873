"""Plans as shell commands: complete, quoted, harmless to a terminal, and valid for a shell."""

import shutil
import subprocess
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement.id_maps import IdMapping
from docket.domain.plan import operations as op
from docket.domain.ports import Launch
from docket.kernel.explain import command, explain, quote
from docket.kernel.fake.kernel import FakeKernel

HOSTILE = "a'b\"c$(d)`e`\n\x1b[31m\\ %s\x7f\u202e-"


def example(kind: type[op.Operation], text: str) -> op.Operation:
    """An operation with the same text wherever it takes one."""
    values: dict[str, object] = {
        "namespaces": ("mount", "pid"),
        "kind": "c",
        "propagation": "rprivate",
        "flags": ("RDONLY", "NOSUID"),
        "uids": (IdMapping(0, 1, 2),),
        "gids": (IdMapping(0, 1, 2),),
    }
    fields = {}
    for field in msgspec.structs.fields(kind):
        if field.name in values:
            fields[field.name] = values[field.name]
        elif field.type is str:
            fields[field.name] = text
        elif field.type is int:
            fields[field.name] = 7
        elif field.type is bool:
            fields[field.name] = True
        else:
            fields[field.name] = (text, text)
    return kind(**fields)


EVERY = [example(kind, HOSTILE) for kind in get_args(op.AnyOperation)]


def passes_sh(text: str) -> None:
    """Whether a shell reads it; where there is none, the other assertions have to do."""
    if shutil.which("sh") is not None:
        result = subprocess.run(["sh", "-n"], input=text.encode(), capture_output=True, check=False)
        assert result.returncode == 0, (result.stderr, text)


@pytest.mark.parametrize("operation", EVERY, ids=lambda operation: type(operation).__name__)
def test_every_operation_has_an_explanation(operation: op.Operation) -> None:
    """A new operation type cannot be forgotten here, and no text of it reaches the terminal raw (S55)."""
    text = command(operation)
    assert text
    assert all(character == " " or character.isprintable() for character in text), text
    passes_sh(text)


@given(st.text())
def test_s55_a_quoted_word_is_printable(word: str) -> None:
    """Control bytes, direction marks and bytes that are no text are escaped."""
    assert all(character == " " or character.isprintable() for character in quote(word))


@pytest.mark.parametrize(
    "word", ["", "plain", "two words", "a'b", "$HOME", "`id`", "\x1b[0m", "tab\there", "100%\x01", "-n\x02", "\\x\x03"]
)
def test_a_quoted_word_is_the_word_again(word: str) -> None:
    """A shell gives back exactly what was quoted."""
    if shutil.which("sh") is None:
        pytest.skip("needs sh to ask")
    result = subprocess.run(["sh", "-c", f"printf %s {quote(word)}"], capture_output=True, check=True)
    assert result.stdout.decode() == word


def test_a_containers_plan_reads_like_a_session(make_launch: Callable[..., Launch]) -> None:
    """The commands that a person would type, in the order of the plan, valid for sh."""
    text = explain(make_launch(FakeKernel(), "sh", "-c", "echo hi").plan)
    passes_sh(text)
    lines = text.splitlines()
    for wanted in ("mount --make-rslave /", "hostname box", "pivot_root . .; umount -l .; cd /; root=", "exec sh -c 'echo hi'"):
        assert wanted in lines
    assert any(line.startswith("mount -t overlay overlay -o lowerdir=/var/lib/docket/layers/") for line in lines)
    assert any(line.endswith("exec unshare --mount --uts --ipc --pid --fork --net --time sh") for line in lines)
    assert any(line.startswith("exec setpriv --bounding-set -all,+cap_0") for line in lines)
    assert lines[0] == "# on the host, before the process exists"
    assert "hunter" not in text


def test_a_failed_operation_is_marked_and_is_the_last(make_launch: Callable[..., Launch]) -> None:
    """What was not reached is not shown."""
    plan = make_launch(FakeKernel()).plan
    results = [op.OperationResult(operation.describe(), 0, 1) for operation in plan.operations()]
    position = next(number for number, operation in enumerate(plan.operations()) if isinstance(operation, op.EnterRoot))
    failed = op.OperationResult("take it", 20, 1, "openat2", "/x\x1b")
    lines = explain(plan, [*results[:position], failed]).splitlines()
    assert lines[-1] == "# failed: take it: openat2 /x?: errno 20"
    assert lines[-2].startswith("root=")
    assert explain(plan, results) == explain(plan)

"""The light JSON is JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.cli.json_light import dumps, dumps_indented
from docket.domain.compact_json import loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_both_ways_agree_with_json(value: Any) -> None:
    """What one writes the other reads, and what is written cannot act on a terminal."""
    assert json.loads(dumps(value)) == value == json.loads(dumps_indented(value))
    assert loads(json.dumps(value)) == value == loads(json.dumps(value, ensure_ascii=False, indent=1))
    assert dumps(value).isprintable()
    assert all(line.isprintable() for line in dumps_indented(value).split("\n"))


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    """The C scanner's own failures never come out."""
    try:
        value = loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            json.loads(text, strict=False, parse_constant=int)
        return
    assert value == json.loads(text, strict=False)


@pytest.mark.parametrize("text", ["", "{", "[1", "1 2", "nul", '{"a"}', "[" * 100_000, "NaN", '"\\x"', b"\xff"])
def test_refusals(text: str | bytes) -> None:
    """Broken, doubled and bottomless texts are ValueErrors."""
    with pytest.raises(ValueError, match="invalid JSON"):
        loads(text)


def test_indentation_is_dockers() -> None:
    """Four blanks; empty lists and objects stay on their line."""
    assert dumps_indented({"a": [], "b": [1], "c": {}}) == '{\n    "a": [],\n    "b": [\n        1\n    ],\n    "c": {}\n}'

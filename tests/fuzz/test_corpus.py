"""What fuzzing has found stays found: every kept input and every seed leads to an answer or a documented refusal."""

from __future__ import annotations

from random import Random

import pytest
from tests.fuzz.campaign import attempt, campaign, corpus, packed, shrunk, unpacked, words
from tests.fuzz.mutation import Mixer, mutate_bytes, mutate_json_text
from tests.fuzz.targets import Target, find, names

_MUTATIONS = 30


@pytest.mark.parametrize("name", names())
def test_no_known_input_finds_anything(name: str) -> None:
    """Seeds, kept findings, and the same few mutations of them every time."""
    target = find(name)
    seeds = target.seeds()
    mixer = Mixer(Random(1), [*seeds, *corpus(target)], words(target.watched))
    mutated = [target.mutate(mixer, mixer.other()) for _ in range(_MUTATIONS)]
    for data in [*seeds, *corpus(target), *mutated]:
        finding = attempt(target, data)
        assert finding is None, f"{finding}; again: python -m tests.fuzz {name} --input={packed(data)}"


def _fragile(run: object) -> Target:
    return Target("fragile", ("domain/compact_json.py",), lambda: [b"harmless"], run, mutate_bytes)  # type: ignore[arg-type]


def test_a_campaign_finds_what_is_wrong_and_makes_it_small() -> None:
    """An exception of any kind is a finding, and what is reported is no longer than it needs to be."""

    def run(data: bytes) -> None:
        if b"h" not in data:
            raise KeyError("no h")

    outcome = campaign(_fragile(run), 600, 1, most=500)
    assert [type(finding.error) for finding in outcome.findings] == [KeyError]
    assert unpacked(packed(outcome.findings[0].data)) == b""


def test_what_computes_for_ever_is_stopped_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a handler of every exception keeps an input from being a finding."""
    monkeypatch.setattr("tests.fuzz.campaign.CPU_SECONDS", 0.05)

    def run(data: bytes) -> None:
        while True:
            try:
                while True:
                    pass
            except Exception:
                continue

    finding = attempt(_fragile(run), b"")
    assert finding is not None
    assert type(finding.error).__name__ == "TooSlow"


def test_a_finding_shrinks_to_what_makes_it() -> None:
    """Shrinking keeps the kind of the finding and drops the rest."""

    def run(data: bytes) -> None:
        assert b"x" not in data

    target = _fragile(run)
    found = attempt(target, b"a" * 500 + b"x" + b"b" * 500)
    assert found is not None
    assert shrunk(target, found).data == b"x"


def test_json_stays_json_when_it_is_mutated() -> None:
    """Most mutations of JSON are JSON, or nothing behind the parser would ever be reached."""
    import json

    mixer = Mixer(Random(1), [b"{}"], ["word"])
    valid = 0
    for _ in range(200):
        try:
            json.loads(mutate_json_text(mixer, b'{"a":[1,{"b":"c"}]}'))
            valid += 1
        except ValueError:
            continue
    assert valid > 150

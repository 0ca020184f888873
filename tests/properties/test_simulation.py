"""Deterministic simulation: random histories and seeds keep every invariant, and a seed means one log wherever it is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation import histories
from tests.simulation.histories import NAMES, VERBS, LifeSpan, Step

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 150
STEPS = st.builds(Step, st.sampled_from(VERBS), st.sampled_from(NAMES), st.integers(0, 29), st.booleans())
LIVES = st.builds(
    LifeSpan,
    st.lists(STEPS, max_size=10).map(tuple),
    st.one_of(st.none(), st.integers(0, 60), st.integers(0, 1500)),
    st.booleans(),
)


@settings(max_examples=150)
@given(st.lists(LIVES, min_size=1, max_size=3).map(tuple), st.integers(0, 3))
def test_no_history_breaks_an_invariant(history: tuple[LifeSpan, ...], seed: int) -> None:
    """Jobs, crashes at any point and power cuts in any order: replay is the state, nothing is lost, leaked or owned twice."""
    histories.simulate(history, seed)


@pytest.mark.slow
def test_no_seed_breaks_an_invariant() -> None:
    """The seeds' own histories, which are longer than hypothesis likes them."""
    for seed in range(SEEDS):
        try:
            histories.simulate(histories.generate(seed), seed)
        except BaseException as error:
            raise AssertionError(f"again: python -m tests.simulation --seed {seed}") from error


def test_a_history_can_be_printed_and_run_again() -> None:
    """A failing history is one line to run again: its text means the same history."""
    history = histories.generate(7)
    assert histories.decode(msgspec.json.encode(history).decode()) == history


@pytest.mark.slow
def test_the_same_seed_gives_the_same_log_in_every_process() -> None:
    """Nothing but the seed decides: no hash seed, no address, no clock of the machine's."""
    logs = set()
    for hash_seed in ("0", "1", "4242"):
        command = [sys.executable, "-m", "tests.simulation", "--seed", "3", "--count", "4"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        logs.add(subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(logs) == 1

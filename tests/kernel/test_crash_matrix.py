"""The crash matrix on the real kernel: a representative part of it; ``make crash-matrix`` runs the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.simulation import real
from tests.simulation.scenarios import SCENARIOS, Scenario

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.long]

_EVERY = 97


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name.replace(" ", "-"))
def test_a_killed_engine_is_recovered_from(scenario: Scenario, tmp_path: Path) -> None:
    """The first point of each kind, and some between: the next engine settles everything and the kernel holds nothing more."""
    failed = [str(case) for case, held in real.results(scenario, tmp_path, _EVERY) if not held]
    assert failed == []

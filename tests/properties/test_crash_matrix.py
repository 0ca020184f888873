"""The crash matrix and the errno matrix on the fake kernel, and that they leave nothing out."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from tests.simulation import errnos, invariants, matrix
from tests.simulation.scenarios import SCENARIOS, Scenario

from docket.domain.log import Event
from docket.domain.model.state import EVENT_TYPES
from docket.domain.plan import operations

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name.replace(" ", "-"))
FEW = ("EBUSY", "ENOENT")


@pytest.mark.slow
@SCENARIO
def test_every_crash_is_recovered_from(scenario: Scenario) -> None:
    """Killed at any point, with or without a power cut: the next engine settles everything, and nothing leaks."""
    for case in matrix.cases(scenario):
        try:
            matrix.check(case)
        except BaseException as error:
            raise AssertionError(str(case)) from error


@pytest.mark.slow
@SCENARIO
def test_a_crash_during_recovery_is_recovered_from(scenario: Scenario) -> None:
    """Depth 2, at one point of each kind: the recovery is killed at each of its own points."""
    seen = set()
    for case in matrix.cases(scenario):
        kind = (case.point.when, case.reboot)
        if kind in seen:
            continue
        seen.add(kind)
        for second in matrix.second_crashes(case, matrix.check(case)):
            try:
                matrix.check(second)
            except BaseException as error:
                raise AssertionError(str(second)) from error


@pytest.mark.slow
@SCENARIO
def test_s13_every_error_ends_in_an_event_and_leaks_nothing(scenario: Scenario) -> None:
    """Each operation and call fails: the log names it, nothing is left, and what runs went through its whole plan."""
    for case in (*errnos.cases(scenario, FEW), *errnos.rollback_cases(scenario, FEW)):
        try:
            errnos.check(case)
        except BaseException as error:
            raise AssertionError(str(case)) from error


@pytest.mark.slow
def test_every_error_number_is_handled_alike() -> None:
    """Every tenth step of a start, with every error number."""
    cases = islice(errnos.cases(matrix.scenario("start")), 0, None, 7)
    for case in cases:
        errnos.check(case)


def test_every_event_type_and_operation_has_a_crash_point() -> None:
    """A new event type or operation that no scenario produces has no crash point, and fails here."""
    points = [point for scenario in SCENARIOS for point in matrix.points_of(scenario)]
    recoveries = [point for name in ("pause", "unpause and stop", "stop") for point in _recovery_points(name)]
    submitted = {name for point in (*points, *recoveries) if point.when == "submit" for name in point.what.split("+")}
    assert {kind.__name__ for kind in EVENT_TYPES} - submitted == set()
    performed = {point.what for point in points if point.when == "op"}
    assert {kind.__name__ for kind in _operations()} - performed == set()


def test_every_intent_has_outcomes_that_are_checked() -> None:
    """An intent that is not in the table would be allowed to stay open for ever."""
    intents = {kind for kind in EVENT_TYPES if kind.__name__.endswith("ing")}
    assert intents <= set(invariants.INTENTS)


def test_every_operation_of_a_plan_can_fail_in_the_errno_matrix() -> None:
    """The matrix covers what plans are made of."""
    kinds = {step.kind for scenario in SCENARIOS for step in errnos.steps_of(scenario)}
    assert {kind.__name__ for kind in _operations()} - kinds == set()


def _recovery_points(name: str) -> list[matrix.Point]:
    """What recoveries pass after a crash at any point of a scenario."""
    found = []
    for case in matrix.cases(matrix.scenario(name), reboots=False):
        found += matrix.recovery_points(case)
    return found


def _operations() -> list[type[msgspec.Struct]]:
    """Operations that some builder builds; an operation that nobody builds needs no point yet."""
    builders = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "domain").rglob("*.py"))
    built = set(re.findall(r"\bop\.([A-Z]\w+)\(", builders))
    undos = {"RemoveDirectory", "Unlink", "RemoveCgroup"}
    kinds = [getattr(operations, name) for name in sorted(built | undos)]
    assert all(issubclass(kind, operations.Operation) for kind in kinds)
    return kinds


def test_events_are_known_by_their_names() -> None:
    """Points are told by type names, so these must differ."""
    kinds: list[type[Event]] = list(EVENT_TYPES)
    assert len({kind.__name__ for kind in kinds}) == len(kinds)

"""``python -m tests.simulation``: run seeds and histories, the crash matrix, and the errno matrix, and print what came of them.

--seed N [--count M]     the random histories of M seeds, from N on; prints the log's hash of each
--history JSON           one history, as a failed test or seed prints it (with --seed for the dice)
--matrix [--depth 2]     every scenario, crashed at every point; with depth 2 its recovery as well
--real [--every N]       the crash matrix on the real kernel, as root; every N-th point and the first of each kind
--errnos                 every kernel operation and call, failing in every way
--scenario NAME          only this one
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from tests.simulation import errnos, histories, matrix
from tests.simulation.scenarios import SCENARIOS, Scenario


def main() -> int:
    """Returns the exit status: 0 when everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--history", default="")
    parser.add_argument("--matrix", action="store_true")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--errnos", action="store_true")
    parser.add_argument("--depth", type=int, choices=(1, 2), default=1)
    parser.add_argument("--scenario", default="")
    options = parser.parse_args()
    chosen = [each for each in SCENARIOS if options.scenario in ("", each.name)]
    if options.errnos:
        return _run_errnos(chosen)
    if options.real:
        return _run_real(chosen, options.every)
    if options.matrix:
        return _run_matrix(chosen, options.depth)
    if options.history:
        return 0 if _run_history(histories.decode(options.history), options.seed) else 1
    held = [_run_history(histories.generate(seed), seed) for seed in range(options.seed, options.seed + options.count)]
    print(f"{sum(held)} of {len(held)} histories held")
    return 0 if all(held) else 1


def _run_history(history: histories.History, seed: int) -> bool:
    try:
        print(f"seed {seed}: log {histories.simulate(history, seed)}")
    except BaseException:
        traceback.print_exc(limit=-4)
        text = msgspec.json.encode(history).decode()
        print(f"seed {seed} failed; again: python -m tests.simulation --seed {seed} --history '{text}'")
        return False
    return True


def _run_matrix(chosen: Iterable[Scenario], depth: int) -> int:
    crashes = recovered = 0
    for scenario in chosen:
        print(f"{scenario.name}: ", end="", flush=True)
        before = crashes, recovered
        for _, held in matrix_results(scenario, depth):
            crashes += 1
            recovered += held
        print(f"{recovered - before[1]}/{crashes - before[0]} recovered", flush=True)
    print(f"fake kernel, depth {depth}: {recovered}/{crashes} recovered, {crashes - recovered} leaked or lost something")
    return 0 if recovered == crashes else 1


def _run_real(chosen: Iterable[Scenario], every: int) -> int:
    from tests.simulation import real

    crashes = recovered = 0
    with tempfile.TemporaryDirectory(prefix="docket-crash-") as directory:
        for scenario in chosen:
            before = crashes, recovered
            for _, held in real.results(scenario, Path(directory), every):
                crashes += 1
                recovered += held
            print(f"{scenario.name}: {recovered - before[1]}/{crashes - before[0]} recovered", flush=True)
    print(f"real kernel: {recovered}/{crashes} recovered, {crashes - recovered} leaked or lost something")
    return 0 if recovered == crashes else 1


def matrix_results(scenario: Scenario, depth: int) -> Iterator[tuple[matrix.Case, bool]]:
    """Every case of a scenario, and whether everything held."""
    for case in matrix.cases(scenario):
        recovery = _held(lambda case=case: matrix.check(case), case)  # type: ignore[misc]
        if depth == 1 or not isinstance(recovery, int):
            yield case, recovery is not None
            continue
        for second in matrix.second_crashes(case, recovery):
            yield second, _held(lambda second=second: matrix.check(second), second) is not None  # type: ignore[misc]


def _held(check: Callable[[], object], what: object) -> object:
    """What the check returned (never None), or None when it failed; that is printed."""
    try:
        return check() or 0
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        print(f"\n  {what}: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def _run_errnos(chosen: Iterable[Scenario]) -> int:
    cases = held = 0
    for scenario in chosen:
        for case in (*errnos.cases(scenario), *errnos.rollback_cases(scenario)):
            cases += 1
            held += _held(lambda case=case: errnos.check(case), case) is not None  # type: ignore[misc]
    print(f"fake kernel, errors: {held}/{cases} held")
    return 0 if held == cases else 1


if __name__ == "__main__":
    sys.exit(main())

"""The crash matrix on the fake kernel: every scenario, crashed at every point that a dry run passes, then recovered.

A crashed case is recovered when the next engine settles everything, a third one finds nothing to do, and removing all containers
leaves nothing. With ``depth`` 2 the recovering engine is crashed too, at each of its own points.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from tests.simulation import invariants
from tests.simulation.deterministic import run
from tests.simulation.life import Life, Point
from tests.simulation.scenarios import SCENARIOS, Scenario, clean_up
from tests.simulation.world import World

from docket.domain.engine import Engine

_LONGER_THAN_ANY_PROGRAM = 5.0


class Case(msgspec.Struct, frozen=True):
    """One crash: the scenario, the number of the point, and the point of the recovery for a second crash."""

    scenario: Scenario
    at: int
    point: Point
    reboot: bool = False
    second: int | None = None

    def __str__(self) -> str:
        again = f", again at point {self.second} of the recovery" if self.second is not None else ""
        return f"{self.scenario.name}: crash at point {self.at} ({self.point}){again}{', reboot' if self.reboot else ''}"


def points_of(scenario: Scenario) -> list[Point]:
    """The points of a dry run, checked after it like a crashed one."""
    return run(0, _dry_run, scenario)


async def _dry_run(scenario: Scenario) -> list[Point]:
    world = await prepared(scenario)
    life = await world.live(lambda engine: scenario.body(engine, world))
    await check_recovery(world)
    return life.points


async def prepared(scenario: Scenario) -> World:
    world = World()

    async def setup(engine: Engine) -> None:
        await scenario.setup(engine, world)
        await world.settle()
        world.check(engine)

    await world.live(setup)
    return world


def cases(scenario: Scenario, *, reboots: bool = True) -> Iterator[Case]:
    """Every crash of a scenario."""
    for at, point in enumerate(points_of(scenario)):
        yield Case(scenario, at, point)
        if reboots and point.when != "shim":
            yield Case(scenario, at, point, reboot=True)


def check(case: Case) -> int:
    """Crash, recover, and check; returns how many points the recovery passed. Raises AssertionError."""
    return len(recovery_points(case))


def recovery_points(case: Case) -> list[Point]:
    """`check`, and what the recovery passed."""
    return run(0, _check, case)


async def _check(case: Case) -> list[Point]:
    world = await prepared(case.scenario)
    life = await world.live(lambda engine: case.scenario.body(engine, world), case.at)
    assert life.points[-1] == case.point, f"the run is not the dry run: {life.points[-1]} instead of {case.point}"
    if case.reboot:
        world.reboot()
    world.failing.clear()
    if case.second is not None:
        await world.live(lambda engine: world.settle(), case.second)
    return (await check_recovery(world)).points


async def check_recovery(world: World) -> Life:
    """The next engine settles everything, the one after it has nothing to do, and what is removed leaves nothing."""

    async def settle(engine: Engine) -> None:
        world.check(engine)
        await world.settle(_LONGER_THAN_ANY_PROGRAM)
        world.check(engine)
        invariants.check_quiet(engine, world.kernel)
        invariants.check_no_garbage(engine, world.disk)
        assert world.store is not None
        assert invariants.open_intents(world.store.everything()) == []

    recovered = await world.live(settle)
    head = len(world.disk.rows)
    await world.live(settle)
    assert len(world.disk.rows) == head, f"a second recovery appended {len(world.disk.rows) - head} events"

    async def remove_all(engine: Engine) -> None:
        await clean_up(engine)
        await world.settle()
        world.check(engine)
        invariants.check_removed(engine, world.kernel)

    await world.live(remove_all)
    return recovered


def second_crashes(case: Case, recovery_points: int) -> Iterator[Case]:
    """The same crash, and another one at every point of the recovery from it."""
    for second in range(recovery_points):
        yield msgspec.structs.replace(case, second=second)


def scenario(name: str) -> Scenario:
    """The scenario of a name."""
    return next(each for each in SCENARIOS if each.name == name)

"""The errno matrix: every kernel operation and call of every scenario, failing with every error number, in rollbacks too.

Whatever fails: an event names the operation and the error, nothing leaks, no process runs that skipped a part of its plan (S13),
and the next engine finds nothing amiss.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import trio
from tests.simulation import invariants
from tests.simulation.deterministic import run
from tests.simulation.matrix import check_recovery, prepared
from tests.simulation.scenarios import Scenario
from tests.simulation.world import World

from docket.domain.engine import Engine
from docket.kernel.fake import linux_errno
from docket.kernel.fake.faults import Step, fail
from docket.kernel.fake.linux_errno import strerror

ERRNOS = ("EPERM", "ENOSPC", "EBUSY", "ENOMEM", "EMFILE", "EINTR", "EEXIST", "ENOENT", "ENOSYS", "ETIMEDOUT")
_LONGEST_SCENARIO = 60


class Case(msgspec.Struct, frozen=True):
    """The ``at``-th step (from 1) of a kind in the scenario's body fails; with ``then``, the ``then``-th operation after it too."""

    scenario: Scenario
    kind: str
    at: int
    errno: str
    what: str = ""
    then: int = 0

    def __str__(self) -> str:
        again = f", and operation {self.then} of the rollback with it" if self.then else ""
        return f"{self.scenario.name}: {self.what or self.kind} (number {self.at}) fails with {self.errno}{again}"


def steps_of(scenario: Scenario) -> list[Step]:
    """The kernel's steps in a dry run of the scenario's body."""
    return run(0, _dry_run, scenario)


async def _dry_run(scenario: Scenario) -> list[Step]:
    world = await prepared(scenario)
    before = len(world.kernel.trace)
    await world.live(lambda engine: scenario.body(engine, world))
    return world.kernel.trace[before:]


def cases(scenario: Scenario, errnos: tuple[str, ...] = ERRNOS) -> Iterator[Case]:
    """Every step, failing in every way."""
    counts: dict[str, int] = {}
    for step in steps_of(scenario):
        counts[step.kind] = counts.get(step.kind, 0) + 1
        for name in errnos:
            yield Case(scenario, step.kind, counts[step.kind], name, f"{step.kind} {step.what}")


def rollback_cases(scenario: Scenario, errnos: tuple[str, ...] = ERRNOS) -> Iterator[Case]:
    """The clone fails, then in turn each operation that takes back what was prepared before it."""
    steps = steps_of(scenario)
    kinds = [step.kind for step in steps if step.kind[:1].isupper()]
    if "Clone" not in kinds:
        return
    prepared_kinds = kinds[: kinds.index("Clone")]
    undos = sum(kind in ("MakeDirectory", "WriteFile", "CreateCgroup") for kind in prepared_kinds)
    for then in range(1, undos + 1):
        for name in errnos:
            yield Case(scenario, "Clone", 1, name, then=then)


def check(case: Case) -> None:
    """Run a case. Raises AssertionError."""
    run(0, _check, case)


async def _check(case: Case) -> None:
    world = await prepared(case.scenario)
    head, before = len(world.disk.rows), len(world.kernel.trace)
    number = getattr(linux_errno, case.errno)
    world.faults.add(fail(world.faults.count(case.kind) + case.at, number, case.kind))
    if case.then:
        world.faults.after_failure(case.then, number)

    async def body(engine: Engine) -> None:
        with trio.move_on_after(_LONGEST_SCENARIO):
            await case.scenario.body(engine, world)
        await world.settle()
        world.check(engine)
        invariants.check_confined(world.kernel)

    await world.live(body)
    _check_told(world, head, before, case.errno)
    await check_recovery(world)


def _check_told(world: World, head: int, before: int, name: str) -> None:
    """The error is in the log: as a number where the event has one, else in its text."""
    failed = [step for step in world.kernel.trace[before:] if step.outcome == name]
    if not failed:
        return
    number = getattr(linux_errno, name)
    words = (f'"errno":{number}', f"errno {number}", strerror(number).lower())
    texts = [row[5].lower() for row in world.disk.rows[head:]]
    assert any(word in text for text in texts for word in words), f"no event tells that {failed[0]} failed"

"""Recovery, where a whole history was needed to find what was wrong: one small test for each."""

from __future__ import annotations

from tests.simulation import scenarios
from tests.simulation.deterministic import run
from tests.simulation.world import World

from docket.domain.engine import Engine
from docket.domain.jobs.stop import Stop
from docket.domain.model.container.state import ContainerStatus

OTHER = "/sys/fs/cgroup/docket/of-another-engine"


async def _setup(world: World, *names: str) -> None:
    async def setup(engine: Engine) -> None:
        await scenarios.import_image(engine, world)
        for name in names:
            await scenarios.create(engine, name)

    await world.live(setup)


def test_the_cgroups_of_other_engines_are_left_alone() -> None:
    """Engines with other data roots put their containers' cgroups beside this one's: nothing of theirs is killed or removed."""

    async def check() -> None:
        world = World()
        await _setup(world)
        world.kernel.model.cgroups.create(OTHER, ())
        await world.live(lambda engine: world.settle())
        assert world.kernel.model.cgroups.exists(OTHER)

    run(0, check)


def test_a_start_waits_until_the_run_before_is_released() -> None:
    """Releasing a run removes its cgroup with all in it, and its exit status: that must not be the next run's."""

    async def check(seed: int) -> None:
        world = World(seed)
        await _setup(world, "web")

        async def restarts(engine: Engine) -> None:
            await scenarios.start(engine, "web")
            for _ in range(5):
                await scenarios.ask(engine, "restart", "web", request=Stop(timeout_seconds=0))
                await world.settle()
                (container,) = engine.state.containers.values()
                assert container.status is ContainerStatus.RUNNING
                world.check(engine)

        await world.live(restarts)

    for seed in range(10):
        run(seed, check, seed)


def test_a_kill_returns_when_the_end_is_in_the_log() -> None:
    """After SIGKILL the answer is the container's end, as in Docker."""

    async def check() -> None:
        world = World()
        await _setup(world, "web")

        async def kill(engine: Engine) -> None:
            await scenarios.start(engine, "web")
            await scenarios.ask(engine, "kill", "web", "9", request=9)
            assert [row[3] for row in world.disk.rows][-4:].count("ContainerExited") == 1

        await world.live(kill)

    run(0, check)


def test_a_kill_whose_engine_died_is_told_to_have_failed() -> None:
    """`ContainerKilling` is an intent like any other: it does not stay open for ever."""

    async def check() -> None:
        world = World()
        await _setup(world, "web")

        async def kill(engine: Engine) -> None:
            await scenarios.start(engine, "web")
            world.kernel.faults.life.crash_at = len(world.kernel.faults.life.points) + 5  # type: ignore[attr-defined]
            await scenarios.ask(engine, "kill", "web", "10", request=10)

        await world.live(kill)

        async def settled(engine: Engine) -> None:
            (container,) = engine.state.containers.values()
            assert container.killing == []
            assert container.status is ContainerStatus.RUNNING

        await world.live(settled)
        assert [row[3] for row in world.disk.rows if row[3].startswith("ContainerKill")] == [
            "ContainerKilling",
            "ContainerKillFailed",
        ]

    run(0, check)

"""Random histories: lives of an engine, each a few jobs, ended by a crash, a power cut or a plain end; checked after every step.

A history is data, so that it can be shrunk, printed and run again. The seed that runs it decides everything else: the order in
which tasks run, the time that the disk takes, ids.
"""

from __future__ import annotations

from random import Random

import msgspec
import trio
from tests.simulation import scenarios
from tests.simulation.deterministic import run
from tests.simulation.matrix import check_recovery
from tests.simulation.world import World

from docket.domain.engine import Engine
from docket.domain.jobs.remove import Remove
from docket.domain.jobs.stop import Stop

NAMES = ("web", "db", "job")
COMMANDS = (("true",), ("false",), ("sleep", "1000"), ("sleep", "1"), ("no-such-program",))
_REQUESTS = {
    "stop": Stop(timeout_seconds=1),
    "restart": Stop(timeout_seconds=1),
    "kill": 9,
    "remove": Remove(),
    "remove-forced": Remove(force=True),
}


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One request, or the passing of time. ``number`` chooses a command, a second name, or tenths of a second."""

    verb: str
    name: str = "web"
    number: int = 0
    meanwhile: bool = False
    """The next step does not wait for this one."""


VERBS = (
    "create", "create-rm", "start", "stop", "kill", "pause", "unpause", "restart", "remove", "remove-forced", "rename", "exec",
    "attach", "import", "rmi", "pass", "fail", "full",
)  # fmt: skip
FAILING = ("remains", "launch", "freeze", "thaw", "signal", "release", "find", "rootfs.remove", "exited")


class LifeSpan(msgspec.Struct, frozen=True, array_like=True):
    """Steps, then the end: a crash at point ``crash_at`` (if the life gets that far), and perhaps a power cut."""

    steps: tuple[Step, ...] = ()
    crash_at: int | None = None
    reboot: bool = False


History = tuple[LifeSpan, ...]


def decode(text: str) -> History:
    """A history from its JSON text."""
    return msgspec.json.decode(text, type=History)


def generate(seed: int) -> History:
    """The history of a seed."""
    dice = Random(f"history {seed}")
    lives = []
    for _ in range(dice.randint(1, 4)):
        steps = tuple(
            Step(dice.choice(VERBS), dice.choice(NAMES), dice.randrange(30), dice.random() < 0.3)
            for _ in range(dice.randint(1, 14))
        )
        crash_at = dice.choice([None, dice.randrange(40), dice.randrange(1500)])
        lives.append(LifeSpan(steps, crash_at, dice.random() < 0.25))
    return tuple(lives)


def simulate(history: History, seed: int = 0) -> str:
    """Run a history; returns the log's hash. Raises AssertionError, with the history in it, for what does not hold."""
    return run(seed, _simulate, history, seed)


async def _simulate(history: History, seed: int) -> str:
    world = World(seed)
    await world.live(lambda engine: _import(engine, world))
    for span in history:
        await world.live(lambda engine, span=span: _steps(engine, world, span.steps), span.crash_at)  # type: ignore[misc]
        world.failing.clear()
        world.disk.failing_commits = 0
        if span.reboot:
            world.reboot()
    await check_recovery(world)
    return world.disk.digest


async def _import(engine: Engine, world: World) -> None:
    await scenarios.import_image(engine, world)


async def _steps(engine: Engine, world: World, steps: tuple[Step, ...]) -> None:
    async with trio.open_nursery() as nursery:
        for step in steps:
            if step.meanwhile:
                nursery.start_soon(_perform, engine, world, step)
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_after(30):
                    await _perform(engine, world, step)
            world.check(engine)
        await world.settle()
        world.check(engine)
        nursery.cancel_scope.cancel()


async def _perform(engine: Engine, world: World, step: Step) -> None:
    verb, name = step.verb, step.name
    match verb:
        case "pass":
            await trio.sleep(step.number / 10)
        case "full":
            world.disk.failing_commits = step.number % 4
        case "fail":
            world.fail(FAILING[step.number % len(FAILING)])
        case "create" | "create-rm":
            await scenarios.create(engine, name, COMMANDS[step.number % len(COMMANDS)], auto_remove=verb == "create-rm")
        case "rename":
            await scenarios.ask(engine, "rename", name, NAMES[step.number % len(NAMES)])
        case "exec":
            await scenarios.execute(engine, name, *COMMANDS[step.number % len(COMMANDS)])
        case "attach":
            await scenarios.attach_once(engine, world, name)
        case "import":
            await scenarios.import_image(engine, world)
        case "rmi":
            await scenarios.ask(engine, "rmi", scenarios.IMAGE, request=bool(step.number % 2))
        case _:
            await scenarios.ask(engine, verb.removesuffix("-forced"), name, request=_REQUESTS.get(verb))

"""How long a daemon takes from its start to its first answer, with many containers and a long log.

The log is made on the fake kernel, so the daemon finds it as after a reboot: of what ran it records the end, and it looks for what
the others left.
"""

from __future__ import annotations

from pathlib import Path

from tests.simulation.scenarios import ask, create, import_image, settled, start
from tests.simulation.world import World
from tests.soak.engine import Engine as Daemon
from tests.soak.restarts import fake_kernel, open_engine

from docket.domain.model.engine.settings import EngineSettings


async def fill(path: Path, containers: int, running: int, events: int) -> int:
    """Make a log of so many containers, of which the last ``running`` run, and so many events; returns how many there are."""
    async with open_engine(path, fake_kernel(), EngineSettings(log_retention_events=0), "starts") as engine:
        await import_image(engine, World())
        for number in range(containers):
            name = f"c{number}"
            runs = number >= containers - running
            await create(engine, name, ("sleep", "1000000") if runs else ("true",))
            await start(engine, name)
            if not runs:
                await settled(engine, name)
        number = 0
        while engine.state.position < events:
            await ask(engine, "rename", f"c{number}", f"d{number}")
            await ask(engine, "rename", f"d{number}", f"c{number}")
            number = (number + 1) % containers
        return engine.state.position


def soak(root: Path, starts: int) -> list[tuple[float, float]]:
    """Start a daemon on the data root so many times, each killed after its first answer.

    Gives the seconds of each start, and those that the processor was at work for it, which a busy machine does not change.
    """
    daemon = Daemon(root)
    found = [(daemon.first_answer, daemon.processor_seconds())]
    for _ in range(starts - 1):
        daemon.kill()
        found.append((daemon.start(), daemon.processor_seconds()))
    daemon.stop()
    return found

"""Drift: what a running container loses behind the engine's back becomes an event within seconds.

The end of a process, or of its shim, is told by the kernel at once, and is `ContainerExited`. A cgroup that was taken away from a
process, or a mount that was taken out of its namespace, nobody tells: it is looked for. Each loss is told once in a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from docket.domain.errors import PortError, StoreFailed
from docket.domain.jobs.launching import identity_of
from docket.domain.model.container.events import ContainerDrifted

if TYPE_CHECKING:
    from docket.domain.engine import Engine
    from docket.domain.model.container.state import Container
    from docket.domain.ports import Standing

EVERY_SECONDS = 3.0

_ALWAYS = frozenset({"/", "/proc", "/dev", "/sys"})
"""Mounted in every container. What its user asked for may lie behind a link, and counts once it has been seen."""


class DriftWatch:
    """Looks at all running containers, again and again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: dict[str, tuple[int, frozenset[str]]] = {}

    async def run(self) -> None:
        """Never returns."""
        while True:
            await trio.sleep(EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Append what containers have lost since the last look."""
        containers = self._engine.state.containers
        for container in list(containers.values()):
            if container.alive:
                await self._look_at(container)
        self._seen = {key: seen for key, seen in self._seen.items() if key in containers}

    async def _look_at(self, container: Container) -> None:
        engine, run = self._engine, container.run
        assert engine.ports.inventory is not None
        try:
            standing = await engine.ports.inventory.standing(identity_of(container))
        except PortError as error:
            engine.ports.report("warning", "a container could not be looked at", container=container.id, error=error)
            return
        if standing is None or not container.alive or container.run != run:
            return
        lost = losses(container, standing, self._expected(container, standing))
        drifts = [
            ContainerDrifted(container.id, run, what, text) for what, text in lost.items() if what not in container.drifted
        ]
        for drift in drifts:
            engine.ports.report(
                "warning", "a container has drifted", container=container.id, what=drift.what, message=drift.message
            )
        try:
            await engine.record(drifts, engine.job("drift", (container.id,), "engine"))
        except StoreFailed:
            return  # kept by the engine, and appended as soon as the disk takes it

    def _expected(self, container: Container, standing: Standing) -> frozenset[str]:
        """The mount points that should be there: those of every container, and those of its own that have been seen."""
        run, seen = self._seen.get(container.id, (0, frozenset[str]()))
        own = frozenset(mount.target.rstrip("/") for mount in container.spec.mounts) & standing.mounts
        seen = own | (seen if run == container.run else frozenset())
        self._seen[container.id] = container.run, seen
        return _ALWAYS | seen


def losses(container: Container, standing: Standing, expected: frozenset[str]) -> dict[str, str]:
    """What the container has lost, by kind, in words."""
    lost = {}
    if container.cgroup and standing.cgroup != container.cgroup and not standing.cgroup.startswith(f"{container.cgroup}/"):
        lost["cgroup"] = f"its process is in cgroup {standing.cgroup}: limits, pause and statistics no longer reach it"
    for target in sorted(expected - standing.mounts):
        lost[f"mount {target}"] = f"nothing is mounted on {target} in it any more"
    return lost

"""What a scenario is given, measures with, and yields."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.engines import Engine
from benchmarks.registry import Registry

SAMPLE_SECONDS = 0.005


@dataclass
class Sizes:
    """How much the scenarios do."""

    containers: int = 1000
    renames: int = 0
    registry: Registry | None = None
    """Where images are pulled from; None where there is no registry to be had."""


@dataclass
class Measurement:
    """One figure of one engine in one round. `unit` is that of `value`; `cpu_ms` is None where CPU time means nothing."""

    name: str
    value: float
    unit: str
    cpu_ms: float | None = None


@dataclass
class Meter:
    """Measures a number of equal operations of one engine."""

    engine: Engine
    walls: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0

    @contextmanager
    def batch(self, operations: int = 1) -> Iterator[None]:
        """CPU time of everything inside, until the engine rests again, for each operation."""
        before = self.engine.group.settled_cpu_ns()
        yield
        self.cpu_ms = (self.engine.group.settled_cpu_ns() - before) / 1e6 / operations

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Wall time of one operation."""
        began = time.perf_counter()
        yield
        self.walls.append((time.perf_counter() - began) * 1000)

    def median_wall_ms(self) -> float:
        """The middle one of the wall times so far."""
        return sorted(self.walls)[len(self.walls) // 2]

    @contextmanager
    def memory(self) -> Iterator[list[int]]:
        """Looks at the engine's memory all the time; the list holds, afterwards, the bytes of before and the most of in between."""
        seen = [self.engine.group.private_bytes()] * 2
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                seen[1] = max(seen[1], self.engine.group.private_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            ended.set()
            watcher.join()

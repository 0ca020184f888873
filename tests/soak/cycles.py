"""N times run and remove: a straight line through the samples says what each cycle costs for ever."""

from __future__ import annotations

from tests.soak.engine import Engine

_SAMPLES = 40
_WARM_UP = 0.2
"""The first part of the samples is not counted: caches fill and the interpreter warms up."""


def soak(engine: Engine, cycles: int) -> dict[str, tuple[float, int, int]]:
    """``what: (slope per cycle, first sample, last sample)``."""
    every = max(cycles // _SAMPLES, 1)
    samples: list[tuple[int, dict[str, int]]] = []
    try:
        for number in range(cycles + 1):
            if number % every == 0:
                samples.append((number, engine.sample()))
            if number < cycles:
                _cycle(engine, number)
    except KeyboardInterrupt:
        print(f"  interrupted after {number} cycles: this is what was measured until then")
    counted = samples[int(len(samples) * _WARM_UP) :]
    return {
        what: (_slope([(number, sample[what]) for number, sample in counted]), counted[0][1][what], counted[-1][1][what])
        for what in samples[0][1]
    }


def _cycle(engine: Engine, number: int) -> None:
    container = engine.client.create("docket/base", ["true"])
    engine.client.start(container)
    engine.client.wait(container)
    engine.client.remove(container)


def _slope(points: list[tuple[int, int]]) -> float:
    """Least squares."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0

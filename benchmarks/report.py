"""Measurements of all rounds, as a table of medians and ratios."""

import json
from collections import defaultdict
from statistics import median

from benchmarks.meter import Measurement

HEADINGS = ("", "engine", "median", "of {against}", "CPU ms", "of {against}", "rounds")


class Figures:
    """What was measured, by measurement and engine, in the order in which it first appeared."""

    def __init__(self) -> None:
        self._rounds: dict[str, dict[str, list[Measurement]]] = defaultdict(lambda: defaultdict(list))

    def add(self, engine: str, measurements: list[Measurement]) -> None:
        """Keeps one round of one engine."""
        for measurement in measurements:
            self._rounds[measurement.name][engine].append(measurement)

    def table(self, against: str) -> str:
        """Aligned columns: the median, its ratio to the same of `against`, and both for CPU time."""
        rows = [[heading.format(against=against) for heading in HEADINGS]]
        for name, engines in self._rounds.items():
            base_value, base_cpu = _medians(engines.get(against, []))
            for number, (engine, measurements) in enumerate(engines.items()):
                value, cpu = _medians(measurements)
                unit = measurements[0].unit
                row = [name if number == 0 else "", engine, f"{value:.1f} {unit}", _ratio(value, base_value)]
                rows.append([*row, "" if cpu is None else f"{cpu:.1f}", _ratio(cpu, base_cpu), str(len(measurements))])
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        return "\n".join(_line(row, widths) for row in rows)

    def json(self) -> str:
        """Every round's figures, for whoever wants to look closer."""
        plain = {
            name: {engine: [[m.value, m.unit, m.cpu_ms] for m in measurements] for engine, measurements in engines.items()}
            for name, engines in self._rounds.items()
        }
        return json.dumps(plain, indent=1)


def _medians(measurements: list[Measurement]) -> tuple[float | None, float | None]:
    """The middle figure and the middle CPU time, None where there is none."""
    values = [m.value for m in measurements]
    cpus = [m.cpu_ms for m in measurements if m.cpu_ms is not None]
    return median(values) if values else None, median(cpus) if cpus else None


def _ratio(value: float | None, base: float | None) -> str:
    """`value` in units of `base`, empty where one is missing."""
    return "" if value is None or not base else f"{value / base:.2f}"


def _line(row: list[str], widths: list[int]) -> str:
    """The two names to the left, figures to the right."""
    align = (str.ljust, str.ljust, *[str.rjust] * (len(row) - 2))
    cells = [put(cell, width) for put, cell, width in zip(align, row, widths, strict=True)]
    return "  ".join(cells).rstrip()

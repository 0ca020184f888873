"""Prints docket beside the engines that are installed: ``python -m benchmarks [SCENARIO…]``, as root.

All engines are up at the same time, with data of their own, in a mount and a network namespace of the harness. In every round
each scenario is run by one engine after the other, so that whatever else the machine does falls on all of them; the figures
are medians over the rounds. Read the ratios: wall times of one machine say little, CPU times more, ratios of one run most.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import image, namespaces, registry, report
from benchmarks.engines import ENGINES, ApiEngine, ContainerEngine, Engine
from benchmarks.meter import Measurement, Sizes
from benchmarks.scenarios import ONCE, SCENARIOS, TRANSFERS


def arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="docket beside the engines that are installed")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"some of: {' '.join(SCENARIOS)} (all)")
    parser.add_argument("--engines", default=",".join(ENGINES), help="comma-separated, the first is compared (%(default)s)")
    parser.add_argument("--against", default="dockerd", help="the engine that ratios are of (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each scenario is repeated (%(default)s)")
    parser.add_argument("--containers", type=int, default=1000, help="how many the scenario `many` makes (%(default)s)")
    parser.add_argument("--renames", type=int, default=0, help="how often it renames them, for a long history (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("/var/tmp"), help="where the engines keep their data (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures of every round to this file too")
    options = parser.parse_args()
    for name in options.scenarios:
        if name not in SCENARIOS:
            parser.error(f"unknown scenario {name}: one of {' '.join(SCENARIOS)}")
    for name in options.engines.split(","):
        if name not in ENGINES:
            parser.error(f"unknown engine {name}: one of {' '.join(ENGINES)}")
    return options


def measure(engines: list[Engine], options: argparse.Namespace, source: registry.Registry | None) -> report.Figures:
    """Runs the scenarios round by round and returns every measurement."""
    figures = report.Figures()
    sizes = Sizes(options.containers, options.renames, source)
    for scenario in options.scenarios or SCENARIOS:
        for turn in range(1 if scenario in ONCE else options.rounds):
            shift = turn % len(engines)
            for engine in engines[shift:] + engines[:shift]:
                print(f"\r{scenario} {turn + 1}: {engine.name}".ljust(50), end="", file=sys.stderr, flush=True)
                measurements: list[Measurement] = list(SCENARIOS[scenario](engine, sizes))
                figures.add(engine.name, measurements)
    print("\r".ljust(51) + "\r", end="", file=sys.stderr)
    return figures


def main() -> int:
    """Starts the engines, measures, prints, and ends what it started."""
    options = arguments()
    if os.geteuid() != 0:
        print("benchmarks: engines need root", file=sys.stderr)
        return 1
    # Programs keep their bytecode, as they do where nobody asked for anything else.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    namespaces.enter()
    engines: list[Engine] = []
    source: registry.Registry | None = None
    with tempfile.TemporaryDirectory(prefix="docket-benchmark.", dir=options.data, ignore_cleanup_errors=True) as folder:
        tar = image.write_tar(Path(folder) / "image.tar")
        try:
            for name in options.engines.split(","):
                if not ENGINES[name].available():
                    print(f"benchmarks: {name} is not installed, left out", file=sys.stderr)
                    continue
                engine = ENGINES[name](Path(folder) / name)
                engines.append(engine)
                if isinstance(engine, ApiEngine):
                    engine.start()
                if isinstance(engine, ContainerEngine):
                    engine.import_image(tar)
            if TRANSFERS.intersection(options.scenarios or SCENARIOS) and registry.available():
                source = registry.Registry(Path(folder) / "registry")
            figures = measure(engines, options, source)
        finally:
            if source is not None:
                source.close()
            for engine in engines:
                engine.close()
            namespaces.detach_below(folder)
    print(figures.table(options.against))
    if options.json is not None:
        options.json.write_text(figures.json())
    return 0


if __name__ == "__main__":
    sys.exit(main())

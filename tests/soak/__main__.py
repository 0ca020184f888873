"""``python -m tests.soak``: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.oracle import Oracle, kill_leftovers
from tests.soak import cycles, kills
from tests.soak.engine import Engine


def main() -> int:
    """Returns 0 when nothing grew without need, died, was lost or leaked."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="what grows, and what outlives the engine")
    parser.add_argument("--cycles", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--containers", type=int, default=50)
    options = parser.parse_args()
    held = True
    with tempfile.TemporaryDirectory(prefix="docket-soak-") as directory:
        root = Path(directory)
        oracle = Oracle(root)
        engine = Engine(root)
        try:
            if options.cycles:
                held = _cycles(engine, options.cycles)
            if options.kills:
                held = _kills(engine, options.containers, options.kills) and held
            engine.stop()
            leaks = oracle.leaks()
            print(f"leaked: {len(leaks)}", *leaks, sep="\n  ")
        finally:
            engine.process.kill()
            kill_leftovers(oracle, print)
    return 0 if held and not leaks else 1


def _cycles(engine: Engine, count: int) -> bool:
    print(f"{count} times run and remove")
    grown = cycles.soak(engine, count)
    for what, (slope, first, last) in grown.items():
        print(f"  {what:<24} {slope:>12.4f} per cycle   {first} → {last}")
    return all(grown[what][0] < 0.01 for what in ("descriptors", "threads", "files outside the log"))


def _kills(engine: Engine, containers: int, count: int) -> bool:
    found = kills.soak(engine, containers, count)
    for what, value in found.items():
        print(f"  {what:<40} {value}")
    return not any(found[what] for what in ("died with the engine", "exit codes wrong or unknown", "with lost output"))


if __name__ == "__main__":
    sys.exit(main())

"""``python -m tests.soak``: see the package's docstring."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import trio
from tests.oracle import Oracle, kill_leftovers
from tests.soak import cycles, kills, restarts, starts
from tests.soak.engine import Engine

from docket.domain.model.engine.settings import EngineSettings


def main() -> int:
    """Returns 0 when nothing grew without need, died, was lost or leaked."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="what grows, and what outlives the engine")
    parser.add_argument("--cycles", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--starts", type=int, default=0)
    options = parser.parse_args()
    if options.starts:
        return _starts(options.starts)
    if options.restarts:
        return _restarts(options.restarts, min(options.containers, 10))
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


def _starts(count: int) -> int:
    with tempfile.TemporaryDirectory(prefix="docket-soak-") as directory:
        data = Path(directory, "data")
        data.mkdir(mode=0o710)
        events = trio.run(starts.fill, data / "log.db", 1_000, 500, 100_000)
        print(
            f"1000 containers, half of them running before a reboot, {events} events; seconds to the first answer (processor):"
        )
        seconds = starts.soak(Path(directory), count)
    print("  " + " ".join(f"{each:.2f} ({busy:.2f})" for each, busy in seconds))
    return 0


def _restarts(count: int, containers: int) -> int:
    print(f"{count} restarts of {containers} containers, on the fake kernel")
    with tempfile.TemporaryDirectory(prefix="docket-soak-") as directory:
        found = trio.run(restarts.soak, Path(directory, "log.db"), count, containers, EngineSettings())
    print(f"  {'restarts':>9} {'events':>9} {'log, bytes':>12} {'archives':>9} {'bytes':>12} {'slowest, ms':>12}")
    for each in found.samples:
        print(
            f"  {each.restarts:>9} {each.events:>9} {each.log_bytes:>12} {each.archives:>9} {each.archive_bytes:>12} "
            f"{each.slowest_ms:>12}"
        )
    print(f"  events verified {found.verified}, up to {found.floor} no longer kept; next start {found.start_seconds:.2f} s")
    half = [each.log_bytes for each in found.samples[len(found.samples) // 2 :]]
    return 0 if max(half) < 1.2 * min(half) else 1


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

"""``python -m tests.fuzz``: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from random import SystemRandom

from tests.fuzz.campaign import campaign, report, show, unpacked
from tests.fuzz.targets import find, names


def main() -> int:
    """Returns 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="fuzz what reads strangers' input")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=" ".join(names()))
    parser.add_argument("--seconds", type=float, default=60, help="for each target (60)")
    parser.add_argument("--inputs", type=int, default=1 << 62, help="for each target, at most (no limit)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at once")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--input", help="one input, as a finding prints it, or @FILE")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in names()]
    if unknown:
        parser.error(f"no target is named {unknown[0]}: there are {' '.join(names())}")
    targets = options.targets or list(names())
    if options.input is not None:
        if len(targets) != 1:
            parser.error("--input needs the one target that it is for")
        return 0 if show(find(targets[0]), _input(options.input)) else 1
    seed = SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    if len(targets) > 1:
        return _side_by_side(targets, options.seconds, options.inputs, options.jobs, seed)
    start = time.monotonic()
    target = find(targets[0])
    outcome = campaign(target, options.seconds, seed, options.inputs)
    return 0 if report(target, outcome, time.monotonic() - start) else 1


def _input(text: str) -> bytes:
    if not text.startswith("@"):
        return unpacked(text)
    with open(text[1:], "rb") as file:
        return file.read()


def _side_by_side(targets: list[str], seconds: float, inputs: int, jobs: int, seed: int) -> int:
    """Each target in a process of its own: one's memory and signals are nothing to another."""
    print(f"fuzz: {len(targets)} targets, {seconds:g} s each, {jobs} at once, seed {seed}", flush=True)

    def run(name: str) -> int:
        limits = ["--seconds", str(seconds), "--inputs", str(inputs), "--seed", str(seed)]
        command = [sys.executable, "-m", "tests.fuzz", name, *limits]
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        statuses = list(pool.map(run, targets))
    for name, status in zip(targets, statuses, strict=True):
        if status not in (0, 1):
            print(f"{name}: the campaign itself ended with {status}", flush=True)
    return 1 if any(statuses) else 0


if __name__ == "__main__":
    sys.exit(main())

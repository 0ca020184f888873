"""One target for some time: mutates, runs within limits, keeps what reaches new lines, and makes findings small."""

from __future__ import annotations

import base64
import re
import resource
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import CodeType
from typing import Any, NamedTuple

from tests.fuzz.coverage import Coverage
from tests.fuzz.mutation import Mixer
from tests.fuzz.targets import Target

CPU_SECONDS = 4.0
"""What one input may compute. The slowest that is legitimate takes some 50 ms."""
MEMORY_BYTES = 1 << 30
"""What a campaign may allocate beyond what its imports take."""
_SHRINK_SECONDS = 10.0
_MAX_FINDINGS = 5
_CORPUS = Path(__file__).parent / "corpus"
_ROOT = Path(__file__).parents[2]
_LONGEST_WORD = 40


class TooSlow(BaseException):
    """An input took more than its time; no handler of exceptions may keep that to itself."""


class Finding(NamedTuple):
    """An input, why it is a finding, and where that was raised."""

    data: bytes
    error: BaseException
    place: str

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {str(self.error)[:300]!r} at {self.place}"


class Outcome(NamedTuple):
    runs: int
    kept: int
    lines: int
    findings: list[Finding]


def corpus(target: Target) -> list[bytes]:
    """The inputs of the target's folder."""
    return [path.read_bytes() for path in sorted((_CORPUS / target.name).glob("*"))]


def campaign(target: Target, seconds: float, seed: int, most: int = 1 << 62) -> Outcome:
    """Run the target for so long, for so many inputs, or until it has found enough."""
    coverage, dice, inputs = Coverage(target.watched), Random(seed), [*target.seeds(), *corpus(target)]
    mixer = Mixer(dice, inputs, words(target.watched))
    findings: dict[str, Finding] = {}
    deadline, runs = time.monotonic() + seconds, 0
    pending = list(reversed(inputs))
    with limited_memory():
        while len(findings) < _MAX_FINDINGS and runs < most and (pending or time.monotonic() < deadline):
            known = bool(pending)
            data = pending.pop() if pending else target.mutate(mixer, _parent(dice, inputs))
            before, runs = coverage.reached, runs + 1
            with coverage.watching():
                finding = attempt(target, data)
            if finding is not None and _kind(finding) not in findings:
                findings[_kind(finding)] = shrunk(target, finding)
            elif finding is None and coverage.reached > before and not known:
                inputs.append(data)
    return Outcome(runs, len(inputs), coverage.reached, list(findings.values()))


def _parent(dice: Random, inputs: Sequence[bytes]) -> bytes:
    """Any input, the newer ones more often."""
    return dice.choice(inputs[-max(1, len(inputs) // 5) :] if dice.random() < 0.5 else inputs)


def attempt(target: Target, data: bytes) -> Finding | None:
    """Run one input; None when it led to an answer or to a documented refusal."""
    try:
        with limited_time():
            target.run(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Finding(data, error, _place(error))
    return None


def _kind(finding: Finding) -> str:
    return f"{type(finding.error).__name__} {finding.place}"


def _place(error: BaseException) -> str:
    """The innermost line of the project's own code, or the innermost of all."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/docket/" in frame.filename and "/site-packages/" not in frame.filename]
    for frame in reversed(own or frames):
        return f"{frame.filename.rpartition('/docket/')[2]}:{frame.lineno}"
    return "?"


def shrunk(target: Target, finding: Finding) -> Finding:
    """The same finding with less input, as far as that goes in ten seconds."""
    deadline = time.monotonic() + _SHRINK_SECONDS
    size = len(finding.data) // 2
    while size and time.monotonic() < deadline:
        for start in range(0, len(finding.data), size):
            smaller = attempt(target, finding.data[:start] + finding.data[start + size :])
            if smaller is not None and _kind(smaller) == _kind(finding) and time.monotonic() < deadline:
                finding = smaller
                break
        else:
            size //= 2
    return finding


@contextmanager
def limited_time() -> Iterator[None]:
    """Raises `TooSlow` in what computes for too long."""

    def stop(number: int, frame: Any) -> None:
        raise TooSlow(f"more than {CPU_SECONDS:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def limited_memory() -> Iterator[None]:
    """Lets allocations fail beyond the limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# An input as a word of a command line.


def packed(data: bytes) -> str:
    """The text that `unpacked` reads."""
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode()


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.urlsafe_b64decode(text))


# The dictionary


def words(watched: tuple[str, ...]) -> list[str]:
    """The short strings among the constants of the code under test."""
    found: set[str] = set()
    for folder in watched:
        path = _ROOT / folder
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            _constants(compile(file.read_bytes(), str(file), "exec"), found)
    return sorted(found)


def _constants(constant: Any, found: set[str]) -> None:
    if isinstance(constant, CodeType):
        for inner in constant.co_consts:
            _constants(inner, found)
    elif isinstance(constant, tuple | frozenset):
        for inner in constant:
            _constants(inner, found)
    elif isinstance(constant, bytes):
        _constants(constant.decode("latin-1"), found)
    elif isinstance(constant, str) and "\n" not in constant and len(constant) <= _LONGEST_WORD:
        found.add(constant)
        found.update(part for part in re.split(r"[\s|]+", constant) if len(part) > 1)


def report(target: Target, outcome: Outcome, seconds: float) -> bool:
    """Print what came of a campaign; True when nothing was found."""
    rate = outcome.runs / max(seconds, 0.001)
    print(
        f"{target.name:<12} {outcome.runs:>8} inputs, {rate:>6.0f}/s, {outcome.kept:>5} kept, {outcome.lines:>5} lines reached, "
        f"{len(outcome.findings)} findings",
        flush=True,
    )
    for finding in outcome.findings:
        print(f"  {finding}\n  again: .venv/bin/python -m tests.fuzz {target.name} --input={packed(finding.data)}", flush=True)
    return not outcome.findings


def show(target: Target, data: bytes) -> bool:
    """Run one input and print all that is known of what it found; True when that was nothing."""
    print(f"{target.name}: {len(data)} bytes: {data[:2000]!r}")
    with limited_memory():
        finding = attempt(target, data)
    if finding is None:
        print("nothing found")
        return True
    traceback.print_exception(finding.error, file=sys.stdout)
    return False

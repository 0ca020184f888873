"""What to say when a replay asks for something else than was recorded."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import msgspec

from docket.kernel.recording.format import Call

_SHOWN = 40
_LONGEST_LINE = 300


class ReplayDiverged(Exception):
    """A call differs from the recorded one. No `PortError`: it must not pass for a failure of the kernel.

    ``behind`` tells that nothing more is recorded.
    """

    def __init__(self, text: str, *, behind: bool = False) -> None:
        super().__init__(text)
        self.behind = behind


def explain_divergence(calls: Sequence[Call], position: int, asked: Call | None) -> str:
    """The call that was made, the recorded one that is nearest to it, and the difference."""
    if asked is None:
        following = calls[position]
        return f"replay ended early: {len(calls) - position} recorded calls are left, the next is {_title(following)}"
    if not calls:
        return f"replay diverged: {_title(asked)} was called, the recording has no call"
    expected = _title(calls[position]) if position < len(calls) else "the end of the recording"
    nearest = _nearest(calls, position, asked)
    lines = [f"replay diverged: {_title(asked)} was called, recorded is {expected}"]
    if position >= len(calls) or nearest is not calls[position]:
        lines.append(f"nearest recorded call: {_title(nearest)}")
    before, after = _text(nearest), _text(asked)
    difference = list(difflib.unified_diff(before, after, "recorded", "called", lineterm="", n=1))
    lines += [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in difference[:_SHOWN]]
    return "\n".join(lines)


def _title(call: Call) -> str:
    subject = call.key or call.arguments.get("cgroup", "")
    return f"{call.name} {subject!r}" + (f" (line {call.line})" if call.line else "")


def _nearest(calls: Sequence[Call], position: int, asked: Call) -> Call:
    """The most alike call; of equally alike ones the one that is closest to where the replay stands."""

    def distance(index: int) -> tuple[bool, bool, int]:
        call = calls[index]
        return call.name != asked.name, call.key != asked.key, abs(index - position)

    return calls[min(range(len(calls)), key=distance)]


def _text(call: Call) -> list[str]:
    lines = [call.name, f"key {call.key!r}"]
    lines += [f"{name} {_json(value)}" for name, value in sorted(call.arguments.items())]
    return lines + [_json(line.operation) for line in call.operations if line.operation]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

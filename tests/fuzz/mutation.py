"""Makes new inputs of old ones: of bytes, and of JSON values so that they stay JSON. Every choice is the dice's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

MAX_INPUT_BYTES = 1 << 16

_NUMBERS = (
    "0 -1 1 7 8 255 256 65535 65536 2147483647 2147483648 4294967296 9223372036854775807 9223372036854775808 -9223372036854775808 "
    "18446744073709551616 " + "9" * 5000 + " 1e9 1e400 0x10 +1 00 1.5 -0 007 ٣ ²"
).split()
_STRINGS = (
    "", " ", "\0", "\n", "\r\n", "/", "..", "../..", "//", ".", "-", "--", "=", ":", ",", '"', "'", "\\", "%", "%00",
    "%zz", "{}", "[]",
    "é", "\ud800", "\U0001f600", "\u202e", "\x1b[2J", "a" * 300, "true", "null", "NaN", "Infinity", "$HOME", "${a", "*", "a/../b",
)  # fmt: skip
_DIGITS = re.compile(rb"[0-9]+")

Mutate = Callable[["Mixer", bytes], bytes]


class Mixer:
    """The dice, the other inputs of the campaign, and the dictionary."""

    def __init__(self, dice: Random, inputs: Sequence[bytes], words: Sequence[str]) -> None:
        self.dice = dice
        self.inputs = inputs
        self.words = words

    def other(self) -> bytes:
        """Any input."""
        return self.dice.choice(self.inputs)

    def word(self) -> str:
        """A word of the code under test, or one that has made trouble elsewhere."""
        dice = self.dice
        source = dice.random()
        if source < 0.6 and self.words:
            return dice.choice(self.words)
        return dice.choice(_STRINGS if source < 0.85 else _NUMBERS)


def mutate_bytes(mixer: Mixer, data: bytes) -> bytes:
    """A few changes anywhere."""
    for _ in range(1 << mixer.dice.randrange(4)):
        data = mixer.dice.choice(_BYTES)(mixer, data)
    return data[:MAX_INPUT_BYTES]


def mutate_lines(mixer: Mixer, data: bytes) -> bytes:
    """Lines moved, dropped, repeated or taken from elsewhere, or bytes of one changed."""
    lines = data.split(b"\n")
    at = mixer.dice.randrange(len(lines))
    match mixer.dice.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines.insert(at, mixer.dice.choice(mixer.other().split(b"\n")))
        case 3:
            mixer.dice.shuffle(lines)
        case _:
            lines[at] = mutate_bytes(mixer, lines[at])
    return b"\n".join(lines)[:MAX_INPUT_BYTES]


def _flip(mixer: Mixer, data: bytes) -> bytes:
    if not data:
        return data
    at = mixer.dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << mixer.dice.randrange(8)]) + data[at + 1 :]


def _insert(mixer: Mixer, data: bytes) -> bytes:
    at = mixer.dice.randrange(len(data) + 1)
    return data[:at] + mixer.dice.randbytes(mixer.dice.randrange(1, 5)) + data[at:]


def _insert_word(mixer: Mixer, data: bytes) -> bytes:
    at = mixer.dice.randrange(len(data) + 1)
    return data[:at] + mixer.word().encode("utf-8", "surrogatepass") + data[at:]


def _overwrite_word(mixer: Mixer, data: bytes) -> bytes:
    start, end = _slice(mixer, data)
    return data[:start] + mixer.word().encode("utf-8", "surrogatepass") + data[end:]


def _delete(mixer: Mixer, data: bytes) -> bytes:
    start, end = _slice(mixer, data)
    return data[:start] + data[end:]


def _repeat(mixer: Mixer, data: bytes) -> bytes:
    start, end = _slice(mixer, data)
    return data[:start] + data[start:end] * (1 << mixer.dice.randrange(1, 10)) + data[end:]


def _splice(mixer: Mixer, data: bytes) -> bytes:
    other = mixer.other()
    start, end = _slice(mixer, other)
    at = mixer.dice.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]


def _cross(mixer: Mixer, data: bytes) -> bytes:
    other = mixer.other()
    return data[: mixer.dice.randrange(len(data) + 1)] + other[mixer.dice.randrange(len(other) + 1) :]


def _number(mixer: Mixer, data: bytes) -> bytes:
    found = list(_DIGITS.finditer(data))
    if not found:
        return _insert_word(mixer, data)
    chosen = mixer.dice.choice(found)
    near = str(int(chosen[0][:40]) + mixer.dice.choice((-1, 1, 10)))
    text = mixer.dice.choice((*_NUMBERS, near))
    return data[: chosen.start()] + text.encode() + data[chosen.end() :]


def _truncate(mixer: Mixer, data: bytes) -> bytes:
    return data[: mixer.dice.randrange(len(data) + 1)]


_BYTES = (_flip, _insert, _insert_word, _overwrite_word, _delete, _repeat, _splice, _cross, _number, _truncate)


def _slice(mixer: Mixer, data: bytes) -> tuple[int, int]:
    start = mixer.dice.randrange(len(data) + 1)
    return start, min(len(data), start + mixer.dice.choice((0, 1, 2, 4, 16, 64, 1024)))


# JSON


def mutate_json_text(mixer: Mixer, data: bytes) -> bytes:
    """A JSON text with some of its values changed; now and then, and when it is none, its bytes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(mixer, data)
    if mixer.dice.random() < 0.1:
        return mutate_bytes(mixer, data)
    for _ in range(1 << mixer.dice.randrange(3)):
        value = mutate_json(mixer, value)
    return as_text(value)


def as_text(value: Any) -> bytes:
    """The JSON of a value; lone surrogates stay escapes."""
    return json.dumps(value, separators=(",", ":")).encode()


def mutate_json(mixer: Mixer, value: Any) -> Any:
    """The value with one node changed."""
    places: list[tuple[Any, Any]] = []
    _collect(value, places)
    if not places or mixer.dice.random() < 0.05:
        return _changed(mixer, value)
    holder, key = mixer.dice.choice(places)
    action = mixer.dice.randrange(8)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[mixer.word()] = holder[key]
    elif action == 1:
        holder.insert(key, holder[key])
    elif action == 2:
        other, at = mixer.dice.choice(places)
        holder[key] = json.loads(json.dumps(other[at]))
    else:
        holder[key] = _changed(mixer, holder[key])
    return value


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        places.append((value, key))
        _collect(item, places)


def _changed(mixer: Mixer, value: Any) -> Any:
    dice = mixer.dice
    match dice.randrange(10):
        case 0:
            return None
        case 1:
            return dice.choice((True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 0.5, 1e308))
        case 2:
            return [value]
        case 3:
            return {mixer.word(): value}
        case 4:
            return dice.choice(([], {}, [{}], [[]], [None], {"": None}))
        case 5 if isinstance(value, dict):
            return {**value, mixer.word(): mixer.word()}
        case 5 if isinstance(value, list):
            return [*value, mixer.word()]
        case 6 | 7 if isinstance(value, str):
            return mutate_bytes(mixer, value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")[:4096]
        case 8:
            return [mixer.word() for _ in range(dice.randrange(4))]
    return mixer.word()

"""Classic BPF, as far as a seccomp filter needs it: instructions, comparisons, decision trees.

A program is read from the front and jumps forward only. Every piece here is complete: it ends in a return on each path, and the
pieces are put together from the end, so that each knows how many instructions it has to jump over. A conditional jump reaches
255 instructions; longer ones go through an unconditional jump, which has 32 bits.

The loads, jumps, AND and returns used here are the ones that the kernel can also run ahead of time, to find the calls that are
always allowed and skip the filter for them (seccomp_cache_prepare, since Linux 5.11).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, constant: struct sock_filter of linux/filter.h."""

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""

LOAD = 0x20
JUMP = 0x05
JUMP_EQUAL = 0x15
JUMP_GREATER = 0x25
JUMP_GREATER_EQUAL = 0x35
AND = 0x54
RETURN = 0x06

_NUMBER_OFFSET = 0
_ARCHITECTURE_OFFSET = 4
_ARGUMENTS_OFFSET = 16
_LONGEST = 255
_LOW = 0xFFFFFFFF
_SOCK_FILTER = struct.Struct("<HBBI")


class Test(msgspec.Struct, frozen=True):
    """A comparison of an argument, of its lower half only where ``narrow``; then value and mask have 32 bits too."""

    index: int
    operator: str
    value: int
    mask: int
    narrow: bool


Alternative = tuple[tuple[Test, ...], int]
"""Tests that must all hold, and the action that follows."""

Decision = tuple[Alternative, ...]
"""Alternatives in order; the last has no tests."""


def encode(program: Sequence[Instruction]) -> bytes:
    """The array of struct sock_filter, little-endian as every architecture that docket runs on."""
    return b"".join(_SOCK_FILTER.pack(*instruction) for instruction in program)


def decode(program: bytes) -> list[Instruction]:
    """The instructions of an array of struct sock_filter."""
    return [(code, true, false, constant) for code, true, false, constant in _SOCK_FILTER.iter_unpack(program)]


def load_number() -> Instruction:
    return (LOAD, 0, 0, _NUMBER_OFFSET)


def load_architecture() -> Instruction:
    return (LOAD, 0, 0, _ARCHITECTURE_OFFSET)


def decision(alternatives: Decision) -> list[Instruction]:
    """The code that tries the alternatives one after the other."""
    code: list[Instruction] = [(RETURN, 0, 0, alternatives[-1][1])]
    for tests, action in reversed(alternatives[:-1]):
        block: list[Instruction] = [(RETURN, 0, 0, action)]
        for test in reversed(tests):
            block = _comparison(test, len(block)) + block
        code = block + code
    return code


def tree(ranges: Sequence[tuple[int, Decision]]) -> list[Instruction]:
    """The code that finds the range of the loaded number, by halving, and decides there.

    ``ranges`` are pairs of a first number and a decision, in rising order; a range ends where the next begins.
    """
    if len(ranges) == 1:
        return decision(ranges[0][1])
    middle = len(ranges) // 2
    lower = tree(ranges[:middle])
    return [*_jump_over(JUMP_GREATER_EQUAL, ranges[middle][0], len(lower)), *lower, *tree(ranges[middle:])]


def select(cases: Sequence[tuple[int, list[Instruction]]], otherwise: int) -> list[Instruction]:
    """The code that runs the case whose constant equals the loaded value, or returns ``otherwise``."""
    code: list[Instruction] = [(RETURN, 0, 0, otherwise)]
    for constant, body in reversed(cases):
        code = [(JUMP_EQUAL, 1, 0, constant), (JUMP, 0, 0, len(body)), *body, *code]
    return code


def _jump_over(code: int, constant: int, distance: int) -> list[Instruction]:
    """Jumps over ``distance`` instructions when the comparison holds."""
    if distance <= _LONGEST:
        return [(code, distance, 0, constant)]
    return [(code, 0, 1, constant), (JUMP, 0, 0, distance)]


def _comparison(test: Test, rest: int) -> list[Instruction]:
    """Falls through when the test holds, else jumps over the ``rest`` that follows."""
    low_offset = _ARGUMENTS_OFFSET + 8 * test.index
    if test.operator == "MASKED_EQ":
        return _masked_equal(test, low_offset, rest)
    low = _low_half(test.operator, test.value & _LOW, low_offset, rest)
    if test.narrow:
        return low
    return [*_high_half(test.operator, test.value >> 32, low_offset + 4, len(low), rest), *low]


def _low_half(operator: str, value: int, offset: int, rest: int) -> list[Instruction]:
    code, wanted = {
        "EQ": (JUMP_EQUAL, True),
        "NE": (JUMP_EQUAL, False),
        "GT": (JUMP_GREATER, True),
        "LE": (JUMP_GREATER, False),
        "GE": (JUMP_GREATER_EQUAL, True),
        "LT": (JUMP_GREATER_EQUAL, False),
    }[operator]
    true, false = (0, rest) if wanted else (rest, 0)
    return [(LOAD, 0, 0, offset), (code, true, false, value)]


def _high_half(operator: str, value: int, offset: int, low: int, rest: int) -> list[Instruction]:
    """Decides where the upper halves differ, and goes on to the ``low`` instructions of the lower half where they do not."""
    load: Instruction = (LOAD, 0, 0, offset)
    holds, fails = low, low + rest
    if operator == "EQ":
        return [load, (JUMP_EQUAL, 0, fails, value)]
    if operator == "NE":
        return [load, (JUMP_EQUAL, 0, holds, value)]
    greater, less = (holds, fails) if operator in ("GT", "GE") else (fails, holds)
    return [load, (JUMP_GREATER, 1 + greater, 0, value), (JUMP_EQUAL, 0, less, value)]


def _masked_equal(test: Test, offset: int, rest: int) -> list[Instruction]:
    low: list[Instruction] = [
        (LOAD, 0, 0, offset),
        (AND, 0, 0, test.mask & _LOW),
        (JUMP_EQUAL, 0, rest, test.value & _LOW),
    ]
    if test.narrow or not test.mask >> 32:
        return low
    fails = len(low) + rest
    return [(LOAD, 0, 0, offset + 4), (AND, 0, 0, test.mask >> 32), (JUMP_EQUAL, 0, fails, test.value >> 32), *low]

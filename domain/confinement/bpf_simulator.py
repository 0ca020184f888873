"""Running a seccomp program without a kernel: what explains a filter, and what the tests compare the compiler with.

The machine is the kernel's (bpf_check_classic, seccomp_check_filter) as far as a filter may use it. A program that the kernel
would refuse raises ValueError here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from docket.domain.confinement.bpf import (
    AND,
    JUMP,
    JUMP_EQUAL,
    JUMP_GREATER,
    JUMP_GREATER_EQUAL,
    LOAD,
    MAX_INSTRUCTIONS,
    RETURN,
    Instruction,
    decode,
)
from docket.domain.confinement.syscall_numbers import AUDIT_ARCHITECTURES

_DATA = struct.Struct("<IIQ6Q")
_WORD = struct.Struct("<I")
_COMPARISONS = {
    JUMP_EQUAL: lambda accumulator, constant: accumulator == constant,
    JUMP_GREATER: lambda accumulator, constant: accumulator > constant,
    JUMP_GREATER_EQUAL: lambda accumulator, constant: accumulator >= constant,
}


def simulate(program: bytes, architecture: str, number: int, arguments: Sequence[int] = ()) -> int:
    """The action (SECCOMP_RET_*, with its data) for a call; ``number`` has the x32 bit where the architecture is x32."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    return run(program, _DATA.pack(number & 0xFFFFFFFF, AUDIT_ARCHITECTURES[architecture], 0, *padded))


def run(program: bytes, data: bytes) -> int:
    """What the program returns for a struct seccomp_data. Raises ValueError for a program that the kernel would refuse."""
    instructions = _instructions(program)
    accumulator = at = 0
    while at < len(instructions):
        code, true, false, constant = instructions[at]
        at += 1
        if code == RETURN:
            return constant
        if code == LOAD:
            accumulator = _load(data, constant)
        elif code == AND:
            accumulator &= constant
        elif code == JUMP:
            at += constant
        elif code in _COMPARISONS:
            at += true if _COMPARISONS[code](accumulator, constant) else false
        else:
            raise ValueError(f"instruction {at - 1}: code {code:#x}")
    raise ValueError("the program runs past its end")


@lru_cache(maxsize=16)
def _instructions(program: bytes) -> tuple[Instruction, ...]:
    instructions = tuple(decode(program))
    if not 0 < len(instructions) <= MAX_INSTRUCTIONS:
        raise ValueError(f"{len(instructions)} instructions")
    return instructions


def _load(data: bytes, offset: int) -> int:
    if offset % 4 or offset + 4 > len(data):
        raise ValueError(f"load from offset {offset}")
    word: int = _WORD.unpack_from(data, offset)[0]
    return word

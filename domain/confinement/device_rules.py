"""Which devices a container may use: ``--device`` and ``--device-cgroup-rule`` as rules, and the rules as a program for the kernel.

cgroup v2 has no device controller: a BPF program of type CGROUP_DEVICE decides over every open and mknod of the cgroup's processes
(cgroup-v2, "Device controller"). It gets three words: what is asked for (bits 16 and up: 1 mknod, 2 read, 4 write) with the kind (1
block, 2 character), major, and minor. It answers 1 to allow.

Of several rules the last one that speaks of a device wins, for each kind of access by itself: a rule that allows reading and one
that allows writing together allow both. What no rule speaks of is denied.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from docket.domain.confinement.masks import DeviceRule
from docket.domain.errors import InvalidArgument, Rejected

_ACCESS = {"m": 1, "r": 2, "w": 4}
_KINDS = {"b": 1, "c": 2}
_LARGEST = (1 << 31) - 1
_INSTRUCTION = struct.Struct("<BBhi")

# Registers: what is still asked for, kind, major, minor; 0 is the answer, 1 the context.
_ANSWER, _CONTEXT, _ASKED, _KIND, _MAJOR, _MINOR = range(6)
_LOAD, _MOVE, _COPY, _AND, _SHIFT_RIGHT = 0x61, 0xB7, 0xBF, 0x57, 0x77
_IF_EQUAL, _IF_DIFFERENT, _EXIT = 0x15, 0x55, 0x95

Instruction = tuple[int, int, int, int, int]
"""Code, destination, source, offset, constant: struct bpf_insn."""


def parse_rule(text: str) -> DeviceRule:
    """``c 10:200 rwm``, with ``*`` for any number and ``a`` for both kinds. Raises `Rejected` in Docker's words."""
    parts = text.split(" ")
    if len(parts) == 3 and parts[0] in ("a", "b", "c") and _is_access(parts[2]):
        major, colon, minor = parts[1].partition(":")
        if colon and _is_number(major) and _is_number(minor):
            numbers = [None if part == "*" else int(part) for part in (major, minor)]
            return DeviceRule(True, parts[0], numbers[0], numbers[1], parts[2])
    raise Rejected(InvalidArgument(f"invalid device cgroup rule format: '{ascii(text[:60])[1:-1]}'"))


def check_permissions(text: str) -> None:
    """Raises `Rejected` when ``text`` is not made of r, w and m."""
    if not _is_access(text):
        raise Rejected(
            InvalidArgument(f"invalid device permissions: '{ascii(text[:60])[1:-1]}': any of r, w and m is expected")
        )


def _is_access(text: str) -> bool:
    return 0 < len(text) <= 3 and set(text) <= set(_ACCESS)


def _is_number(text: str) -> bool:
    return text == "*" or (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _LARGEST)


def device_program(rules: Sequence[DeviceRule]) -> bytes:
    """The program as the kernel takes it, an array of struct bpf_insn."""
    code: list[Instruction] = [
        (_LOAD, _ASKED, _CONTEXT, 0, 0),
        (_LOAD, _MAJOR, _CONTEXT, 4, 0),
        (_LOAD, _MINOR, _CONTEXT, 8, 0),
        (_COPY, _KIND, _ASKED, 0, 0),
        (_AND, _KIND, 0, 0, 0xFFFF),
        (_SHIFT_RIGHT, _ASKED, 0, 0, 16),
    ]
    for rule in reversed(rules):
        if _is_final(rule):
            code += _answer(rule.allow)
            break
        code += _rule(rule)
    else:
        code += _answer(False)
    return b"".join(_INSTRUCTION.pack(op, source << 4 | to, offset, constant) for op, to, source, offset, constant in code)


def _is_final(rule: DeviceRule) -> bool:
    """Whether the rule decides everything: the kernel refuses programs with instructions that nothing reaches."""
    return rule.kind == "a" and rule.major is None and rule.minor is None and set(rule.access) == set(_ACCESS)


def _answer(allow: bool) -> list[Instruction]:
    return [(_MOVE, _ANSWER, 0, 0, int(allow)), (_EXIT, 0, 0, 0, 0)]


def _rule(rule: DeviceRule) -> list[Instruction]:
    """An allowing rule takes away from what is asked for, and allows when nothing is left; a denying one denies what it meets."""
    bits = sum(_ACCESS[letter] for letter in set(rule.access))
    if rule.allow:
        body: list[Instruction] = [(_AND, _ASKED, 0, 0, ~bits), (_IF_DIFFERENT, _ASKED, 0, 2, 0), *_answer(True)]
    else:
        met: list[Instruction] = [(_COPY, _ANSWER, _ASKED, 0, 0), (_AND, _ANSWER, 0, 0, bits)]
        body = [*met, (_IF_EQUAL, _ANSWER, 0, 2, 0), *_answer(False)]
    wanted = [(_KIND, None if rule.kind == "a" else _KINDS[rule.kind]), (_MAJOR, rule.major), (_MINOR, rule.minor)]
    tests = [(register, value) for register, value in wanted if value is not None]
    for register, value in reversed(tests):
        body = [(_IF_DIFFERENT, register, 0, len(body), value), *body]
    return body

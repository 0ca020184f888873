"""Device rules: what may be written, and what the compiled program decides, by a machine that runs it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement.device_rules import check_permissions, device_program, parse_rule
from docket.domain.confinement.masks import DeviceRule, device_rules
from docket.domain.errors import Rejected

BITS = {"m": 1, "r": 2, "w": 4}
RULES = st.builds(
    DeviceRule,
    st.booleans(),
    st.sampled_from("abc"),
    st.sampled_from([None, 1, 8, 136]),
    st.sampled_from([None, 0, 3]),
    st.sampled_from(["r", "w", "m", "rw", "rm", "rwm"]),
)


def run(program: bytes, kind: int, asked: int, major: int, minor: int) -> bool:
    """Executes the program as the kernel does, and counts that it ends."""
    code = list(struct.iter_unpack("<BBhi", program))
    context = (asked << 16 | kind, major, minor)
    registers, at = [0] * 11, 0
    for _ in range(len(code) + 1):
        op, both, offset, constant = code[at]
        to, source = both & 15, both >> 4
        wide = constant & (1 << 64) - 1
        at += 1
        match op:
            case 0x61:
                registers[to] = context[offset // 4]
            case 0xB7:
                registers[to] = wide
            case 0xBF:
                registers[to] = registers[source]
            case 0x57:
                registers[to] &= wide
            case 0x77:
                registers[to] >>= constant
            case 0x15:
                at += offset if registers[to] == wide else 0
            case 0x55:
                at += offset if registers[to] != wide else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"unknown instruction {op:#x}")
    raise AssertionError("the program does not end")


def decided(rules: Sequence[DeviceRule], kind: str, major: int, minor: int, access: str) -> bool:
    """What the rules mean: for each kind of access the last rule that speaks of the device."""
    for letter in access:
        speaking = [
            rule.allow
            for rule in rules
            if rule.kind in ("a", kind)
            and rule.major in (None, major)
            and rule.minor in (None, minor)
            and letter in rule.access
        ]
        if not speaking or not speaking[-1]:
            return False
    return True


@given(st.lists(RULES, max_size=8), st.sampled_from("bc"), st.sampled_from([1, 8, 136]), st.sampled_from([0, 3]))
def test_the_program_decides_as_the_rules_mean(rules: list[DeviceRule], kind: str, major: int, minor: int) -> None:
    """Every kind of access to every device, one by one and together."""
    program = device_program(rules)
    for access in ("r", "w", "m", "rw", "rm", "wm", "rwm"):
        asked = sum(BITS[letter] for letter in access)
        allowed = run(program, {"b": 1, "c": 2}[kind], asked, major, minor)
        assert allowed == decided(rules, kind, major, minor, access), (rules, access)


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "allowed"),
    [
        (2, 1, 3, "rw", True),
        (2, 1, 9, "r", True),
        (2, 5, 2, "rw", True),
        (2, 136, 7, "rw", True),
        (2, 1, 1, "r", False),
        (2, 1, 1, "m", True),
        (1, 8, 0, "m", True),
        (1, 8, 0, "r", False),
        (1, 8, 0, "rm", False),
        (1, 1, 3, "r", False),
        (2, 10, 229, "m", False),
        (2, 10, 200, "rw", False),
    ],
)
def test_the_defaults_are_dockers(kind: int, major: int, minor: int, access: str, allowed: bool) -> None:
    """A node of any device can be made, and only the harmless ones opened; fuse and tun are not among them."""
    assert run(device_program(device_rules()), kind, sum(BITS[letter] for letter in access), major, minor) is allowed


def test_privileged_is_everything_and_no_rule_is_nothing() -> None:
    """The shortest programs: no instruction in them is unreachable, which the kernel would refuse."""
    everything, nothing = device_program(device_rules(privileged=True)), device_program(())
    assert len(everything) == len(nothing) == 8 * 8
    assert run(everything, 1, 7, 8, 0)
    assert not run(nothing, 2, 2, 1, 3)


@pytest.mark.parametrize("text", ["c 10:200 rwm", "b *:* m", "a 1:* r", "c 0:0 wr"])
def test_a_rule_reads_as_it_was_written(text: str) -> None:
    """docker's form, with stars for any number."""
    assert parse_rule(text).text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c",
        "c 1:3",
        "d 1:3 r",
        "c 1 r",
        "c 1:3 x",
        "c 1:3 rrww",
        "c -1:3 r",
        "c 1:3:4 r",
        "c \u0661:3 r",
        "c 1:3  r",
        "c 4294967297:3 r",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    """In Docker's words, and never as another device (S11)."""
    with pytest.raises(Rejected, match="invalid device cgroup rule format"):
        parse_rule(text)


@pytest.mark.parametrize("text", ["", "x", "rwmx", "RW"])
def test_permissions_are_made_of_three_letters(text: str) -> None:
    """Nothing that is not understood is taken for less, or for more."""
    with pytest.raises(Rejected, match="invalid device permissions"):
        check_permissions(text)

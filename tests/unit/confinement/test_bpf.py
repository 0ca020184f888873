"""BPF pieces: encoding, trees over ranges, comparisons of 64 bits."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement import bpf
from docket.domain.confinement.bpf import Test as BpfTest
from docket.domain.confinement.bpf_simulator import run, simulate

LOW = 0xFFFFFFFF
ALL_BITS = LOW << 32 | LOW


def data(number: int = 0, architecture: int = 0, argument: int = 0) -> bytes:
    return struct.pack("<IIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)


def test_an_instruction_is_eight_bytes_of_the_kernels_layout() -> None:
    """struct sock_filter: u16 code, u8 jt, u8 jf, u32 k."""
    program = bpf.encode([(0x15, 1, 2, 0xC000003E), (0x06, 0, 0, 0x7FFF0000)])
    assert program == bytes.fromhex("150001023e0000c0060000000000ff7f")
    assert bpf.decode(program) == [(0x15, 1, 2, 0xC000003E), (0x06, 0, 0, 0x7FFF0000)]


@given(st.lists(st.integers(1, LOW), max_size=300, unique=True), st.integers(0, LOW))
def test_a_tree_finds_the_range_of_every_number(starts: list[int], number: int) -> None:
    """The first, the last and all between, whatever the count."""
    ranges = [(start, (((), index),)) for index, start in enumerate([0, *sorted(starts)])]
    program = bpf.encode([bpf.load_number(), *bpf.tree(ranges)])
    for probe in {number, *(start for start, _ in ranges), *(start - 1 for start, _ in ranges[1:])}:
        expected = max(index for index, (start, _) in enumerate(ranges) if start <= probe)
        assert run(program, data(probe)) == expected


def test_a_tree_is_balanced() -> None:
    """A thousand ranges take ten comparisons, since each system call pays for them."""
    ranges = [(start, (((), start),)) for start in range(1024)]
    program = bpf.encode([bpf.load_number(), *bpf.tree(ranges)])
    assert len(bpf.decode(program)) < 3 * 1024
    assert run(program, data(1023)) == 1023


OPERATORS = {
    "EQ": lambda argument, value: argument == value,
    "NE": lambda argument, value: argument != value,
    "LT": lambda argument, value: argument < value,
    "LE": lambda argument, value: argument <= value,
    "GT": lambda argument, value: argument > value,
    "GE": lambda argument, value: argument >= value,
}
words = st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, LOW - 1, LOW]) | st.integers(0, LOW)
values = st.builds(lambda high, low: high << 32 | low, words, words)


@given(st.sampled_from(sorted(OPERATORS)), values, values, st.sampled_from([-1, 0, 1, 1 << 32, -(1 << 32)]), st.booleans())
def test_comparisons_are_unsigned_and_64_bits_wide(operator: str, value: int, other: int, step: int, near: bool) -> None:
    """Both halves count, the upper one first."""
    argument = (value + step) & ALL_BITS if near else other
    test = BpfTest(0, operator, value, ALL_BITS, narrow=False)
    program = bpf.encode(bpf.decision((((test,), 1), ((), 0))))
    assert run(program, data(argument=argument)) == OPERATORS[operator](argument, value)


@given(values, values, values)
def test_masked_comparisons(argument: int, mask: int, value: int) -> None:
    """The bits under the mask, in both halves."""
    value &= mask
    program = bpf.encode(bpf.decision((((BpfTest(0, "MASKED_EQ", value, mask, narrow=False),), 1), ((), 0))))
    for probe in (argument, value, value | argument & ~mask):
        assert run(program, data(argument=probe)) == (probe & mask == value)


@given(st.sampled_from(sorted(OPERATORS)), values, words)
def test_narrow_comparisons_do_not_look_at_the_upper_half(operator: str, argument: int, value: int) -> None:
    """As the kernel, which drops it."""
    program = bpf.encode(bpf.decision((((BpfTest(0, operator, value, ALL_BITS, narrow=True),), 1), ((), 0))))
    assert run(program, data(argument=argument)) == OPERATORS[operator](argument & LOW, value)


@pytest.mark.parametrize(
    "program",
    [
        [],
        [(0x20, 0, 0, 0)],
        [(0x20, 0, 0, 64), (0x06, 0, 0, 0)],
        [(0x20, 0, 0, 2), (0x06, 0, 0, 0)],
        [(0x15, 9, 9, 0), (0x06, 0, 0, 0)],
        [(0x07, 0, 0, 0), (0x06, 0, 0, 0)],
        [(0x06, 0, 0, 0)] * 4097,
    ],
)
def test_the_simulator_refuses_what_the_kernel_refuses(program: list[bpf.Instruction]) -> None:
    """No return, a load beyond the data or across words, a jump past the end, other instructions, too many."""
    with pytest.raises(ValueError, match=r".+"):
        simulate(bpf.encode(program), "x86_64", 0)

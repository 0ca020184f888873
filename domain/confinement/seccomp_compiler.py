"""From a seccomp profile to the program that the kernel runs at each system call.

    profile + capabilities + kernel + architecture
      └─ rules in force          seccomp_profile
           └─ decisions          by architecture and call number: alternatives in order, then a fallback
                └─ ranges        neighbouring numbers with equal decisions
                     └─ BPF      architecture, then a tree over the ranges (bpf)

What the decisions add to the rules:

- An architecture that the profile does not name kills the process. x32 shares x86_64's architecture value and is told by bit 30.
- Numbers above the newest call that the profile names fail with ENOSYS unless the default permits them. Number 0xffffffff, which
  a tracer sets to skip a call, counts as such a number.
- On i386 the socket and System V calls can also be made through socketcall and ipc. A rule without conditions covers both ways;
  conditions cannot, since the arguments lie in memory then (S14).
- An argument that the kernel reads as 32 bits is compared as 32 bits (syscall_arguments).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from docket.domain.confinement import bpf
from docket.domain.confinement.bpf import Alternative, Decision, Test
from docket.domain.confinement.capabilities import NUMBERS as CAPABILITIES
from docket.domain.confinement.seccomp_profile import (
    ALL_BITS,
    ENOSYS,
    KILL_PROCESS,
    Circumstances,
    Condition,
    Rule,
    SeccompProfile,
    errno_action,
    is_permissive,
    rules_in_force,
)
from docket.domain.confinement.syscall_arguments import INT_ARGUMENTS
from docket.domain.confinement.syscall_numbers import ARM_PRIVATE, AUDIT_ARCHITECTURES, NARROW, NUMBERS, X32_BIT
from docket.domain.errors import InvalidArgument, Rejected, Unsupported

HOST_ARCHITECTURES = ("x86_64", "aarch64")

_TOP = 0xFFFFFFFF
_LOW = 0xFFFFFFFF
# linux/net.h, numbered from 1.
_SOCKETCALL = (
    "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt "
    "getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
).split()
# linux/ipc.h; the upper half of ipc's first argument is a version and is ignored by the kernel.
_IPC = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}


def _ways_around() -> dict[str, tuple[str, Condition]]:
    ways = {name: ("socketcall", Condition(0, "EQ", number)) for number, name in enumerate(_SOCKETCALL, start=1)}
    ways.update({name: ("ipc", Condition(0, "MASKED_EQ", number, 0xFFFF)) for name, number in _IPC.items()})
    return ways


WAYS_AROUND = _ways_around()
"""On i386: the call that does the same, and the condition under which it does."""


def kernel_version(release: str) -> tuple[int, int]:
    """Major and minor number of a kernel release such as ``6.18.44-cloud``. Raises `Rejected` for what begins otherwise."""
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    if not major.isascii() or not major.isdigit() or not minor or len(major) + len(minor) > 10:
        raise Rejected(Unsupported(f"kernel release {release[:40]!r} does not begin with two numbers"))
    return int(major), int(minor)


def compile_profile(profile: SeccompProfile, *, architecture: str, capabilities: int, kernel_release: str) -> bytes:
    """The program for a container on this host, as an array of struct sock_filter.

    ``capabilities`` is the container's bounding set. Raises `Rejected` for an architecture that docket has no tables of and for
    a profile that makes more than 4,096 instructions. Results are kept: a start costs a look-up.
    """
    if architecture not in HOST_ARCHITECTURES:
        raise Rejected(
            Unsupported(f"seccomp is not supported on architecture {architecture}; seccomp=unconfined starts without")
        )
    return _compile(profile, Circumstances(architecture, capabilities, kernel_version(kernel_release)))


@lru_cache(maxsize=64)
def _compile(profile: SeccompProfile, circumstances: Circumstances) -> bytes:
    native = circumstances.architecture
    rules = rules_in_force(profile, circumstances, CAPABILITIES)
    others = dict(profile.sub_architectures).get(native, ()) + profile.architectures
    names = tuple(dict.fromkeys(name for name in (native, *others) if _can_run(native, name)))
    cases = []
    for name in names:
        if name == "x32":
            continue
        ranges = _ranges(profile, rules, name, with_x32="x32" in names)
        cases.append((AUDIT_ARCHITECTURES[name], [bpf.load_number(), *bpf.tree(ranges)]))
    program = [bpf.load_architecture(), *bpf.select(cases, KILL_PROCESS)]
    if len(program) > bpf.MAX_INSTRUCTIONS:
        raise Rejected(
            InvalidArgument(
                f"seccomp profile: makes {len(program)} instructions, the kernel takes {bpf.MAX_INSTRUCTIONS}: "
                "use fewer conditions or fewer architectures"
            )
        )
    return bpf.encode(program)


def _can_run(native: str, architecture: str) -> bool:
    """Whether a kernel of the native architecture can meet calls of the other one at all."""
    return architecture in {"x86_64": ("x86_64", "i386", "x32"), "aarch64": ("aarch64", "arm")}[native]


def _ranges(profile: SeccompProfile, rules: tuple[Rule, ...], architecture: str, with_x32: bool) -> list[tuple[int, Decision]]:
    """The whole space of numbers of one architecture value, in rising order, neighbours merged."""
    points = _points(profile, rules, architecture, 0)
    if architecture == "x86_64":
        points = {number: decision for number, decision in points.items() if number < X32_BIT}
        points.update(_points(profile, rules, "x32", X32_BIT) if with_x32 else _without_x32(profile))
    ranges: list[tuple[int, Decision]] = []
    for number, decision in sorted(points.items()):
        if not ranges or ranges[-1][1] != decision:
            ranges.append((number, decision))
    return ranges


def _without_x32(profile: SeccompProfile) -> dict[int, Decision]:
    return {X32_BIT: _always(KILL_PROCESS), _TOP: _always(_unknown_action(profile))}


def _unknown_action(profile: SeccompProfile) -> int:
    return profile.default if is_permissive(profile.default) else errno_action(ENOSYS)


def _always(action: int) -> Decision:
    return (((), action),)


def _points(profile: SeccompProfile, rules: tuple[Rule, ...], architecture: str, first: int) -> dict[int, Decision]:
    """Where the decision may change: a number, and what holds from there to the next point."""
    alternatives = _alternatives(rules, architecture)
    default = _always(profile.default)
    points: dict[int, Decision] = {first: default}
    for number in sorted(alternatives):
        points[number] = _decision(alternatives[number], profile.default)
        points[number + 1] = default
    sequence = [number for number in alternatives if architecture != "arm" or number < ARM_PRIVATE]
    if sequence:
        points[max(sequence) + 1] = _always(_unknown_action(profile))
    if architecture == "arm":
        points.setdefault(ARM_PRIVATE, default)
    return points


class _Named(NamedTuple):
    """What one rule says about one call. Without tests, but ``conditional``: its conditions always hold on this architecture."""

    tests: tuple[Test, ...]
    action: int
    conditional: bool


def _alternatives(rules: tuple[Rule, ...], architecture: str) -> dict[int, list[_Named]]:
    """For each number that a rule names, the tests and action of its rules, in their order."""
    found: dict[int, list[_Named]] = {}
    numbers = NUMBERS[architecture]
    for rule in rules:
        for name in rule.names:
            _add(found, numbers, architecture, name, rule.conditions, rule.action)
            if architecture == "i386" and not rule.conditions and name in WAYS_AROUND:
                other, condition = WAYS_AROUND[name]
                _add(found, numbers, architecture, other, (condition,), rule.action)
    return found


def _add(
    found: dict[int, list[_Named]],
    numbers: dict[str, int],
    architecture: str,
    name: str,
    conditions: tuple[Condition, ...],
    action: int,
) -> None:
    number = numbers.get(name)
    if number is None:
        return
    tests = []
    for condition in conditions:
        test = _test(condition, (name, condition.index) in INT_ARGUMENTS, architecture in NARROW)
        if test is False:
            # The rule can never match, but it names the call: the call is known.
            found.setdefault(number, [])
            return
        if isinstance(test, Test):
            tests.append(test)
    found.setdefault(number, []).append(_Named(tuple(tests), action, bool(conditions)))


def _test(condition: Condition, is_int: bool, is_narrow_architecture: bool) -> Test | bool:
    """The comparison to make, or what it is known to give."""
    value = condition.value
    if not is_int and not is_narrow_architecture:
        return Test(condition.index, condition.operator, value, condition.mask, narrow=False)
    equality = condition.operator in ("EQ", "NE", "MASKED_EQ")
    if is_int and equality and value >> 32 == _LOW:
        value &= _LOW  # a negative number, extended to 64 bits by whoever wrote it
    if value >> 32:
        return condition.operator in ("NE", "LT", "LE")
    mask = condition.mask & _LOW if condition.operator == "MASKED_EQ" else ALL_BITS
    return Test(condition.index, condition.operator, value, mask, narrow=True)


def _decision(named: list[_Named], default: int) -> Decision:
    """The rules with conditions in their order, as far as one that always holds; then the first without, else the default."""
    decision: list[Alternative] = []
    fallback = next((each.action for each in named if not each.conditional), default)
    for each in named:
        if each.tests:
            decision.append((each.tests, each.action))
        elif each.conditional:
            fallback = each.action
            break
    while decision and decision[-1][1] == fallback:
        decision.pop()
    return (*dict.fromkeys(decision), ((), fallback))

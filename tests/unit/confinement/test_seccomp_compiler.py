"""The compiler: a program decides as a plain reading of the profile does, whatever profile, architecture, call and arguments."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docket.domain.confinement import bpf
from docket.domain.confinement import capabilities as caps
from docket.domain.confinement.bpf_simulator import simulate
from docket.domain.confinement.seccomp_compiler import WAYS_AROUND, compile_profile, kernel_version
from docket.domain.confinement.seccomp_default import DEFAULT_PROFILE
from docket.domain.confinement.seccomp_profile import (
    ALL_BITS,
    ALLOW,
    ENOSYS,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    TRACE,
    TRAP,
    Condition,
    Rule,
    Scope,
    SeccompProfile,
    errno_action,
)
from docket.domain.confinement.syscall_arguments import INT_ARGUMENTS
from docket.domain.confinement.syscall_numbers import NUMBERS, X32_BIT
from docket.domain.errors import Rejected, Unsupported

LOW = 0xFFFFFFFF
EPERM = errno_action(1)
GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


def compiled(profile: SeccompProfile, native: str = "x86_64", capabilities: int = 0, kernel: str = "6.18.0") -> bytes:
    return compile_profile(profile, architecture=native, capabilities=capabilities, kernel_release=kernel)


# A plain reading of the rules: slow, by name, without ranges, trees or halves.


def in_force(scope: Scope, native: str, capabilities: int, kernel: tuple[int, int]) -> list[bool]:
    checks = [bool(capabilities >> caps.NUMBERS[name] & 1) for name in scope.capabilities]
    if scope.minimum_kernel:
        checks.append(kernel >= scope.minimum_kernel)
    return checks


def rules_of(profile: SeccompProfile, native: str, capabilities: int, kernel: tuple[int, int]) -> list[Rule]:
    found = []
    for rule in profile.rules:
        included = all(in_force(rule.includes, native, capabilities, kernel))
        included &= not rule.includes.architectures or GO_NAMES[native] in rule.includes.architectures
        excluded = any(in_force(rule.excludes, native, capabilities, kernel))
        excluded |= GO_NAMES[native] in rule.excludes.architectures
        if included and not excluded:
            found.append(rule)
    return found


def holds(condition: Condition, name: str, architecture: str, arguments: list[int]) -> bool:
    value, argument = condition.value, arguments[condition.index]
    if (name, condition.index) in INT_ARGUMENTS:
        argument &= LOW
        if value >> 32 == LOW and condition.operator in ("EQ", "NE", "MASKED_EQ"):
            value &= LOW
    return {
        "EQ": argument == value,
        "NE": argument != value,
        "LT": argument < value,
        "LE": argument <= value,
        "GT": argument > value,
        "GE": argument >= value,
        "MASKED_EQ": argument & condition.mask == value,
    }[condition.operator]


def expected(
    profile: SeccompProfile, rules: list[Rule], native: str, architecture: str, number: int, arguments: list[int]
) -> int:
    others = dict(profile.sub_architectures).get(native, ()) + profile.architectures
    permissive = profile.default & 0x7FFF0000 in (ALLOW, LOG, TRACE)
    unknown = profile.default if permissive else errno_action(ENOSYS)
    if architecture not in (native, *others):
        # x32 shares its architecture value: only number -1 is not taken for an x32 call.
        return unknown if (architecture, number) == ("x32", LOW) else KILL_PROCESS
    if architecture in ("i386", "arm"):
        arguments = [argument & LOW for argument in arguments]
    numbers = NUMBERS[architecture]
    named = [(name, rule.conditions, rule.action) for rule in rules for name in rule.names]
    if architecture == "i386":
        named += [
            (WAYS_AROUND[name][0], (WAYS_AROUND[name][1],), rule.action)
            for rule in rules
            for name in rule.names
            if name in WAYS_AROUND and not rule.conditions
        ]
    matching = [(name, conditions, action) for name, conditions, action in named if numbers.get(name) == number]
    for name, conditions, action in matching:
        if conditions and all(holds(condition, name, architecture, arguments) for condition in conditions):
            return action
    for _, conditions, action in matching:
        if not conditions:
            return action
    known = [numbers[name] for name, _, _ in named if name in numbers and numbers[name] < 0xF0000 | X32_BIT]
    known = [other for other in known if architecture != "arm" or other < 0xF0000]
    private = architecture == "arm" and number >= 0xF0000
    return unknown if known and number > max(known) and not private else profile.default


NAMES = (
    "read write socket socketpair personality ioctl setuid accept connect socketcall ipc semop shmctl mount clone clone3 "
    "uretprobe set_tls cacheflush open_tree_attr file_setattr execve rt_sigaction getpid renameat2 nobody_knows_this"
).split()
WORDS = (0, 1, 2, 37, 38, 39, 40, 41, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
INTERESTING = tuple(high << 32 | low for high in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF) for low in WORDS)

actions = st.sampled_from([ALLOW, EPERM, errno_action(38), errno_action(4095), KILL_PROCESS, KILL_THREAD, TRAP, LOG, TRACE | 1])
values = st.sampled_from(INTERESTING) | st.integers(0, ALL_BITS)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    operator = draw(st.sampled_from(["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"]))
    index, value = draw(st.integers(0, 2)), draw(values)
    if operator != "MASKED_EQ":
        return Condition(index, operator, value)
    mask = draw(values | st.sampled_from([0xFF, 0x7E020000, ALL_BITS]))
    return Condition(index, operator, value & mask, mask)


scopes = st.builds(
    Scope,
    st.lists(st.sampled_from(["CAP_SYS_ADMIN", "CAP_BPF"]), max_size=1).map(tuple),
    st.lists(st.sampled_from(["amd64", "arm64", "s390x"]), max_size=2).map(tuple),
    st.none() | st.sampled_from([(4, 8), (6, 18), (7, 0)]),
)
rules = st.builds(
    Rule,
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple),
    actions,
    st.lists(conditions(), max_size=3).map(tuple),
    st.just(Scope()) | scopes,
    st.just(Scope()) | scopes,
)
architectures = st.lists(st.sampled_from(["i386", "x32", "arm"]), max_size=3, unique=True).map(tuple)
profiles = st.builds(
    SeccompProfile,
    actions,
    st.lists(rules, max_size=8).map(tuple),
    st.just((("x86_64", ("i386", "x32")), ("aarch64", ("arm",)))) | st.just(()),
    architectures,
)
calls = st.tuples(st.sampled_from(NAMES), st.integers(-2, 2))


def test_a_condition_that_always_holds_on_a_narrow_architecture_is_still_a_condition() -> None:
    """On i386 no argument equals 2**32. The rule that says so comes before the one without conditions, as on x86_64."""
    rules = (Rule(("write",), EPERM, ()), Rule(("write",), ALLOW, (Condition(0, "NE", 1 << 32),)))
    program = compiled(SeccompProfile(ALLOW, rules, (("x86_64", ("i386",)),), ()))
    for architecture in ("x86_64", "i386"):
        assert simulate(program, architecture, NUMBERS[architecture]["write"], [0] * 6) == ALLOW


@pytest.mark.slow
@settings(max_examples=150)
@given(profiles, st.data())
def test_a_program_decides_as_the_profile_says(profile: SeccompProfile, data: st.DataObject) -> None:
    """For calls at, beside and far from the named ones, on every architecture of both hosts."""
    native = data.draw(st.sampled_from(["x86_64", "aarch64"]))
    capabilities = data.draw(st.sampled_from([0, 1 << 21, 1 << 39, caps.ALL]))
    program = compiled(profile, native, capabilities)
    effective = rules_of(profile, native, capabilities, (6, 18))
    mentioned = [c.value for rule in profile.rules for c in rule.conditions] or [0]
    near = st.sampled_from(mentioned).flatmap(
        lambda value: st.integers(-1, 1).map(lambda step: (value + step) % (ALL_BITS + 1))
    )
    for _ in range(12):
        architecture = data.draw(st.sampled_from(["x86_64", "i386", "x32"] if native == "x86_64" else ["aarch64", "arm"]))
        name, step = data.draw(calls)
        number = NUMBERS[architecture].get(name, data.draw(st.integers(0, 600))) + step
        floor = X32_BIT if architecture == "x32" else 0
        ceiling = X32_BIT - 1 if architecture == "x86_64" else LOW
        number = min(max(number, floor), ceiling)
        arguments = data.draw(st.lists(near | values, min_size=6, max_size=6))
        seen = [argument & LOW for argument in arguments] if architecture in ("i386", "arm") else arguments
        assert simulate(program, architecture, number, seen) == expected(
            profile, effective, native, architecture, number, arguments
        ), (architecture, name, number, [hex(argument) for argument in arguments])


@pytest.mark.slow
@pytest.mark.parametrize("native", ["x86_64", "aarch64"])
@pytest.mark.parametrize("capabilities", [0, caps.DEFAULT, caps.ALL])
def test_the_default_profile_is_decided_as_it_says_for_every_number(native: str, capabilities: int) -> None:
    """Each number of each architecture, not a sample; with two sets of arguments."""
    program = compiled(DEFAULT_PROFILE, native, capabilities)
    effective = rules_of(DEFAULT_PROFILE, native, capabilities, (6, 18))
    for architecture in ("x86_64", "i386", "x32") if native == "x86_64" else ("aarch64", "arm"):
        first = X32_BIT if architecture == "x32" else 0
        private = range(0xEFFFF, 0xF0008) if architecture == "arm" else ()
        for number in (*range(first, first + 600), *private):
            for arguments in ([0, 0, 0, 0, 0, 0], [40, 0x7E020000, 0, 0, 0, 0]):
                assert simulate(program, architecture, number, arguments) == expected(
                    DEFAULT_PROFILE, effective, native, architecture, number, arguments
                ), (architecture, number)


def deny(*rules: Rule) -> SeccompProfile:
    return SeccompProfile(ALLOW, rules, (("x86_64", ("i386", "x32")),))


def test_s14_a_rule_with_conditions_is_not_lost_to_one_without() -> None:
    """libseccomp drops the first rule here, and AF_ALG passes."""
    profile = SeccompProfile(EPERM, (Rule(("socket",), EPERM, (Condition(0, "EQ", 38),)), Rule(("socket",), ALLOW)))
    program = compiled(profile)
    socket = NUMBERS["x86_64"]["socket"]
    assert simulate(program, "x86_64", socket, [38]) == EPERM
    assert simulate(program, "x86_64", socket, [2]) == ALLOW


def test_s14_conditions_of_one_rule_hold_together_and_rules_are_alternatives() -> None:
    """Also two conditions on one argument: runc would make alternatives of them."""
    between = Rule(("read",), ALLOW, (Condition(2, "GE", 10), Condition(2, "LE", 20)))
    other = Rule(("read",), ALLOW, (Condition(2, "EQ", 1 << 40), Condition(0, "EQ", 3)))
    program = compiled(SeccompProfile(EPERM, (between, other)))
    for size, descriptor, action in ((9, 0, EPERM), (10, 0, ALLOW), (20, 0, ALLOW), (21, 0, EPERM)):
        assert simulate(program, "x86_64", 0, [descriptor, 0, size]) == action
    assert simulate(program, "x86_64", 0, [3, 0, 1 << 40]) == ALLOW
    assert simulate(program, "x86_64", 0, [4, 0, 1 << 40]) == EPERM
    assert simulate(program, "x86_64", 0, [3, 0, 15 | 1 << 40]) == EPERM


@pytest.mark.parametrize(("name", "selector"), [("connect", 3), ("socket", 1), ("sendmmsg", 20), ("accept", 5)])
def test_s14_i386_calls_cannot_be_made_through_socketcall(name: str, selector: int) -> None:
    """A rule for the call covers the way around it."""
    program = compiled(deny(Rule((name,), EPERM)))
    call = NUMBERS["i386"]["socketcall"]
    assert simulate(program, "i386", call, [selector]) == EPERM
    assert simulate(program, "i386", call, [selector % 20 + 1]) == ALLOW


def test_s14_i386_ipc_ignores_the_version_in_the_upper_half() -> None:
    """The kernel does, so the filter must."""
    program = compiled(deny(Rule(("shmat",), EPERM)))
    call = NUMBERS["i386"]["ipc"]
    assert [simulate(program, "i386", call, [selector]) for selector in (21, 1 << 16 | 21, 0xFFFF << 16 | 21)] == [EPERM] * 3
    assert simulate(program, "i386", call, [22]) == ALLOW


def test_s14_a_denied_ioctl_stays_denied_with_another_upper_half() -> None:
    """CVE-2019-7303: TIOCSTI passed a filter that compared 64 bits of a 32-bit command."""
    program = compiled(deny(Rule(("ioctl",), EPERM, (Condition(1, "EQ", 0x5412),))))
    for command in (0x5412, 1 << 32 | 0x5412, LOW << 32 | 0x5412):
        assert simulate(program, "x86_64", NUMBERS["x86_64"]["ioctl"], [0, command]) == EPERM
    assert simulate(program, "x86_64", NUMBERS["x86_64"]["ioctl"], [0, 0x5413]) == ALLOW


def test_x32_calls_end_the_process_where_the_profile_does_not_name_x32() -> None:
    """An allow-everything-but list would be passed by setting bit 30. Number -1 is a tracer's way to skip a call."""
    program = compiled(SeccompProfile(ALLOW, (Rule(("mount",), EPERM),)))
    assert simulate(program, "x86_64", NUMBERS["x86_64"]["mount"]) == EPERM
    assert simulate(program, "x32", NUMBERS["x32"]["mount"]) == KILL_PROCESS
    assert simulate(program, "x32", 0xFFFFFFFE) == KILL_PROCESS
    assert simulate(program, "x32", LOW) == ALLOW
    assert simulate(program, "i386", 0) == KILL_PROCESS


def test_many_conditions_make_jumps_beyond_255_instructions() -> None:
    """Every second call is decided by a long list; each still decides right."""
    names = sorted(NUMBERS["x86_64"], key=NUMBERS["x86_64"].__getitem__)[:40:2]
    rules = tuple(Rule((name,), ALLOW, (Condition(5, "EQ", value << 33),)) for name in names for value in range(1, 21))
    profile = SeccompProfile(EPERM, rules)
    program = compiled(profile)
    assert any(code == bpf.JUMP and constant > 255 for code, _, _, constant in bpf.decode(program))
    for number in range(42):
        for value in (0, 1, 20, 21):
            allowed = number % 2 == 0 and number < 40 and value in (1, 20)
            assert simulate(program, "x86_64", number, [0, 0, 0, 0, 0, value << 33]) == (
                ALLOW if allowed else errno_action(38) if number > 38 else EPERM
            )


def test_a_profile_that_is_too_large_is_refused() -> None:
    """4,096 instructions are the kernel's limit."""
    rules = tuple(Rule(("read",), ALLOW, (Condition(0, "EQ", value << 33),)) for value in range(1, 1000))
    with pytest.raises(Rejected, match="the kernel takes 4096"):
        compiled(SeccompProfile(EPERM, rules))


def test_other_hosts_are_refused() -> None:
    """501 with the way out, rather than no filter."""
    with pytest.raises(Rejected) as caught:
        compiled(DEFAULT_PROFILE, "riscv64")
    assert isinstance(caught.value.rejection, Unsupported)


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc-v657", (6, 18)), ("5.10.0-28-amd64", (5, 10)), ("6.1-rc3", (6, 1)), ("4.4.0", (4, 4)), ("6.12+", (6, 12))],
)
def test_kernel_releases(release: str, version: tuple[int, int]) -> None:
    """What distributions put behind the numbers is not read."""
    assert kernel_version(release) == version


@pytest.mark.parametrize("release", ["", "6", "six.one", "6.", "6.x1", "٦.1"])
def test_what_is_no_kernel_release_is_refused(release: str) -> None:
    """A guess would put rules in force that the kernel cannot keep."""
    with pytest.raises(Rejected):
        kernel_version(release)

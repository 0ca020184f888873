"""Profiles in Docker's JSON: what is understood, and that nothing is misread in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docket.domain.confinement.seccomp_json import parse_profile
from docket.domain.confinement.seccomp_profile import (
    ALL_BITS,
    ALLOW,
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
from docket.domain.errors import InvalidArgument, Rejected, Unsupported


def parse(**raw: Any) -> SeccompProfile:
    return parse_profile(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **raw}).encode())


def rule(**raw: Any) -> Rule:
    (parsed,) = parse(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", **raw}]).rules
    return parsed


def refusal(**raw: Any) -> str:
    with pytest.raises(Rejected) as caught:
        parse(**raw)
    return caught.value.rejection.message


def rule_refusal(**raw: Any) -> str:
    return refusal(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", **raw}])


def test_the_smallest_profile() -> None:
    """Everything fails with EPERM, on the host's architecture only."""
    assert parse() == SeccompProfile(errno_action(1))
    assert parse(defaultErrnoRet=38).default == errno_action(38)


ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_ERRNO": errno_action(1),
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_TRACE": TRACE | 1,
    "SCMP_ACT_TRAP": TRAP,
}


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_has_the_kernels_number(name: str) -> None:
    """SECCOMP_RET_* of linux/seccomp.h; ERRNO and TRACE carry EPERM unless another number is given."""
    assert rule(action=name).action == ACTIONS[name]
    assert parse(defaultAction=name).default == ACTIONS[name]
    carries = name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
    assert rule(action=name, errnoRet=38).action == (ACTIONS[name] & ~1 | 38 if carries else ACTIONS[name])


def test_a_rule_with_everything() -> None:
    """Names, conditions and circumstances arrive as they stand; a comment changes nothing."""
    parsed = rule(
        args=[
            {"index": 0, "value": 2**64 - 1, "op": "SCMP_CMP_NE"},
            {"index": 5, "value": 0xF0, "valueTwo": 0x30, "op": "SCMP_CMP_MASKED_EQ"},
        ],
        comment="why",
        includes={"caps": ["CAP_SYS_ADMIN"], "arches": ["amd64"], "minKernel": "4.8"},
        excludes={"caps": ["CAP_BPF"]},
    )
    assert parsed.conditions == (Condition(0, "NE", ALL_BITS), Condition(5, "MASKED_EQ", 0x30, 0xF0))
    assert parsed.includes == Scope(("CAP_SYS_ADMIN",), ("amd64",), (4, 8))
    assert parsed.excludes == Scope(("CAP_BPF",))


def test_old_and_foreign_spellings() -> None:
    """``name`` for one name, null for nothing, Podman's errno names beside the numbers."""
    old = parse(
        defaultErrno="EPERM",
        defaultErrnoRet=1,
        archMap=None,
        syscalls=[
            {"name": "mount", "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "errno": "ENOSYS", "args": None, "includes": {}}
        ],
    )
    assert old.rules == (Rule(("mount",), errno_action(38)),)


def test_architectures_come_as_a_map_or_as_a_list() -> None:
    """Those of other hosts are known and left out."""
    mapped = parse(
        archMap=[
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]},
            {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
        ]
    )
    assert mapped.sub_architectures == (("x86_64", ("i386", "x32")),)
    assert parse(architectures=["SCMP_ARCH_X86", "SCMP_ARCH_MIPS", "SCMP_ARCH_ARM"]).architectures == ("i386", "arm")


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        ({"names": [], "action": "SCMP_ACT_ALLOW"}, "names no system call"),
        ({"names": [""]}, "names no system call"),
        ({"name": "open"}, "use either 'name' or 'names', not both"),
        ({"action": "SCMP_ACT_PERMIT"}, "'SCMP_ACT_PERMIT' is no action"),
        ({"action": "ALLOW"}, "is no action"),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 4096}, "4095"),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": -1}, ">= 0"),
        ({"args": [{"index": 6, "op": "SCMP_CMP_EQ", "value": 1}]}, "index"),
        ({"args": [{"index": -1, "op": "SCMP_CMP_EQ", "value": 1}]}, "index"),
        ({"args": [{"index": 0, "op": "EQ", "value": 1}]}, "'EQ' is no comparison"),
        ({"args": [{"index": 0, "op": "SCMP_CMP_LIKE", "value": 1}]}, "is no comparison"),
        ({"args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": -1}]}, "value"),
        ({"args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 2**64}]}, "more than 64 bits"),
        ({"args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1.5}]}, "value"),
        ({"args": [{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 2, "valueTwo": 1}]}, "can never equal"),
        ({"args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}] * 13}, "at most 12"),
        ({"arg": []}, "unknown field `arg`"),
        ({"Args": []}, "differs from 'args' in case only"),
        ({"includes": {"caps": ["SYS_ADMIN"]}}, "is no capability"),
        ({"includes": {"minKernel": "4"}}, "MAJOR.MINOR"),
        ({"excludes": {"minKernel": "4.8.1"}}, "MAJOR.MINOR"),
        ({"excludes": {"minKernel": "4.٨"}}, "MAJOR.MINOR"),
        ({"errno": "EPERM"}, "errno needs errnoRet"),
    ],
)
def test_s14_a_rule_that_cannot_be_kept_is_refused(raw: dict[str, Any], part: str) -> None:
    """A misread rule is a looser filter: each of these names the rule or the key."""
    assert part in rule_refusal(**raw)


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        ({"defaultAction": ""}, "defaultAction: '' is no action"),
        ({"syscall": []}, "unknown field"),
        (
            {"archMap": [{"architecture": "SCMP_ARCH_X86_64"}], "architectures": ["SCMP_ARCH_X86"]},
            "'architectures' or 'archMap'",
        ),
        ({"architectures": ["x86"]}, "is no architecture"),
        ({"defaultErrno": "EPERM"}, "defaultErrno needs defaultErrnoRet"),
        ({"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}] * 5000}, "at most 4096"),
    ],
)
def test_a_profile_that_is_none_is_refused(raw: dict[str, Any], part: str) -> None:
    """With what is wrong, as a 400."""
    assert part in refusal(**raw)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_KILL"}', b"{}"]
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    """Two equal keys too: which one counts would depend on the reader (S24)."""
    with pytest.raises(Rejected) as caught:
        parse_profile(data)
    assert isinstance(caught.value.rejection, InvalidArgument)
    assert caught.value.rejection.message.startswith("decoding seccomp profile failed: ")


@pytest.mark.parametrize("raw", [{"flags": ["SECCOMP_FILTER_FLAG_LOG"]}, {"listenerPath": "/run/x"}])
def test_listeners_and_flags_are_not_supported(raw: dict[str, Any]) -> None:
    """501 rather than a filter that does less than was asked."""
    with pytest.raises(Rejected) as caught:
        parse(**raw)
    assert isinstance(caught.value.rejection, Unsupported)
    with pytest.raises(Rejected) as caught:
        parse(syscalls=[{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}])
    assert isinstance(caught.value.rejection, Unsupported)


def test_s14_restricting_an_unknown_call_is_refused_where_everything_else_is_allowed() -> None:
    """A deny list with a misspelled or newer name would be a filter with a hole; an allow list with one is only tighter."""
    typo = [{"names": ["mount", "unmount3"], "action": "SCMP_ACT_ERRNO"}]
    assert "cannot restrict 'unmount3'" in refusal(defaultAction="SCMP_ACT_ALLOW", syscalls=typo)
    assert parse(syscalls=[{"names": ["s390_runtime_instr"], "action": "SCMP_ACT_ALLOW"}]).rules
    assert parse(syscalls=typo).rules

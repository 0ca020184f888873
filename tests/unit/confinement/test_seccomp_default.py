"""Docker's default profile: the same rules as upstream, and what they come to for the default capabilities."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from docket.domain.confinement import capabilities as caps
from docket.domain.confinement.bpf_simulator import simulate
from docket.domain.confinement.seccomp_compiler import compile_profile
from docket.domain.confinement.seccomp_default import DEFAULT_PROFILE
from docket.domain.confinement.seccomp_json import parse_profile
from docket.domain.confinement.seccomp_profile import ALLOW, ENOSYS, EPERM, KILL_PROCESS, Scope, SeccompProfile, errno_action
from docket.domain.confinement.syscall_numbers import NUMBERS, X32_BIT

REFERENCE = "DOCKET_SECCOMP_REFERENCE"
# SHA-256 of what `canonical` makes of moby/profiles cd3bed8, seccomp/default.json. A new upstream version changes it.
UPSTREAM = "e014ae911eadf722aeb3acc8d40ae8a314b7c013629bdcfdec4d03a78a64ecec"

ACTIONS = {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_ERRNO": errno_action(0)}
PROGRAM = compile_profile(DEFAULT_PROFILE, architecture="x86_64", capabilities=caps.DEFAULT, kernel_release="6.18.44")


def scope_text(scope: Scope) -> str:
    kernel = ".".join(map(str, scope.minimum_kernel)) if scope.minimum_kernel else ""
    return f"{sorted(scope.capabilities)} {sorted(scope.architectures)} {kernel}"


def canonical(profile: SeccompProfile) -> str:
    """One line for each name of each rule, sorted: two profiles with the same lines mean the same."""
    lines = [f"default {profile.default:#x}"]
    for rule in profile.rules:
        conditions = sorted(f"{c.index} {c.operator} {c.value:#x} {c.mask:#x}" for c in rule.conditions)
        rest = f"{rule.action:#x} {conditions} + {scope_text(rule.includes)} - {scope_text(rule.excludes)}"
        lines += [f"{name} {rest}" for name in rule.names]
    lines += [f"architecture {name} {sorted(subs)}" for name, subs in profile.sub_architectures]
    return "\n".join(sorted(lines))


def raw_scope(raw: dict[str, Any] | None) -> str:
    raw = raw or {}
    return f"{sorted(raw.get('caps') or [])} {sorted(raw.get('arches') or [])} {raw.get('minKernel') or ''}"


def canonical_upstream(raw: dict[str, Any]) -> str:
    """The same lines from the upstream file, read without any code of docket's."""
    names = {"SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "i386", "SCMP_ARCH_X32": "x32"}
    names |= {"SCMP_ARCH_AARCH64": "aarch64", "SCMP_ARCH_ARM": "arm"}
    lines = [f"default {ACTIONS[raw['defaultAction']] | raw['defaultErrnoRet']:#x}"]
    for call in raw["syscalls"]:
        conditions = []
        for arg in call.get("args") or []:
            operator = arg["op"].removeprefix("SCMP_CMP_")
            value, mask = (arg.get("valueTwo", 0), arg["value"]) if operator == "MASKED_EQ" else (arg["value"], (1 << 64) - 1)
            conditions.append(f"{arg['index']} {operator} {value:#x} {mask:#x}")
        action = ACTIONS[call["action"]] | (call.get("errnoRet", 1) if call["action"] == "SCMP_ACT_ERRNO" else 0)
        rest = f"{action:#x} {sorted(conditions)} + {raw_scope(call.get('includes'))} - {raw_scope(call.get('excludes'))}"
        lines += [f"{name} {rest}" for name in call["names"]]
    for entry in raw["archMap"]:
        if entry["architecture"] in names:
            lines.append(f"architecture {names[entry['architecture']]} {sorted(names[n] for n in entry['subArchitectures'])}")
    return "\n".join(sorted(lines))


def test_s14_the_profile_has_the_rules_of_the_pinned_upstream_file() -> None:
    """A rule that is added, lost or changed by accident changes the digest."""
    assert hashlib.sha256(canonical(DEFAULT_PROFILE).encode()).hexdigest() == UPSTREAM


@pytest.mark.skipif(REFERENCE not in os.environ, reason=f"compares with a copy of moby's default.json: name it in {REFERENCE}")
def test_s14_the_profile_equals_the_upstream_file() -> None:
    """Line by line, so that a new upstream version shows what it changed; and the JSON reader reads it to the same profile."""
    data = Path(os.environ[REFERENCE]).read_bytes()
    assert canonical(DEFAULT_PROFILE).splitlines() == canonical_upstream(json.loads(data)).splitlines()
    assert canonical(parse_profile(data)) == canonical(DEFAULT_PROFILE)


def test_s14_the_counts_that_the_security_table_names() -> None:
    """361 names for everybody, 26 more with SYS_ADMIN, three from kernel 4.8 on."""
    first, second = DEFAULT_PROFILE.rules[:2]
    assert (len(first.names), first.conditions, first.includes, first.excludes) == (361, (), Scope(), Scope())
    assert (len(second.names), second.includes.minimum_kernel) == (3, (4, 8))
    admin = next(rule for rule in DEFAULT_PROFILE.rules if rule.includes.capabilities == ("CAP_SYS_ADMIN",))
    assert len(admin.names) == 26


def action(name: str, *arguments: int, architecture: str = "x86_64", program: bytes = PROGRAM) -> int:
    return simulate(program, architecture, NUMBERS[architecture][name], arguments)


REFUSED = (
    "io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key request_key kexec_load kexec_file_load "
    "pivot_root swapon swapoff mount umount2 unshare setns bpf perf_event_open open_by_handle_at fsopen fsconfig fsmount "
    "move_mount open_tree mount_setattr init_module finit_module delete_module reboot settimeofday acct iopl quotactl "
    "syslog vhangup kcmp pidfd_getfd fanotify_init lookup_dcookie"
).split()


@pytest.mark.parametrize("architecture", ["x86_64", "i386", "x32"])
@pytest.mark.parametrize("name", REFUSED)
def test_s14_what_a_container_with_dockers_capabilities_may_not_call(name: str, architecture: str) -> None:
    """Refused with EPERM through each door that an x86_64 kernel has; what the profile cannot know comes as ENOSYS."""
    if name in NUMBERS[architecture]:
        assert action(name, architecture=architecture) == errno_action(EPERM)


def test_s14_socket_families_are_as_tabled() -> None:
    """All 46 families: AF_ALG (38) and AF_VSOCK (40) are refused, the others pass."""
    for architecture in ("x86_64", "i386", "x32"):
        for family in range(46):
            expected = errno_action(EPERM) if family in (38, 40) else ALLOW
            assert action("socket", family, 5, 0, architecture=architecture) == expected, (architecture, family)


@pytest.mark.parametrize("garbage", [1 << 32, 0xFFFFFFFF << 32, 1 << 63])
def test_s14_the_socket_rule_cannot_be_passed_with_the_upper_half(garbage: int) -> None:
    """The kernel reads the family as int: 0x1_00000026 is AF_ALG, not "greater than 40"."""
    assert action("socket", garbage | 38) == errno_action(EPERM)
    assert action("socket", garbage | 40) == errno_action(EPERM)
    assert action("socket", garbage | 2) == ALLOW


@pytest.mark.parametrize("value", [0, 8, 0x20000, 0x20008, 0xFFFFFFFF])
def test_s14_the_five_personalities(value: int) -> None:
    """And none beside them: ADDR_NO_RANDOMIZE would make exploits easier."""
    assert action("personality", value) == ALLOW
    assert action("personality", value ^ 0x0040000) == errno_action(EPERM)


def test_s14_new_namespaces_need_an_administrator() -> None:
    """clone makes threads and processes, no namespace; clone3 is not there, so that libc falls back to clone."""
    thread = 0x3D0F00
    assert action("clone", thread) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert action("clone", thread | flag) == errno_action(EPERM)
        assert action("clone", thread | flag | 1 << 32) == errno_action(EPERM)
    assert action("clone3") == errno_action(ENOSYS)
    admin = compile_profile(
        DEFAULT_PROFILE, architecture="x86_64", capabilities=caps.DEFAULT | 1 << 21, kernel_release="6.18.44"
    )
    for name in ("clone", "clone3", "mount", "unshare", "setns", "bpf"):
        assert action(name, 0x7E020000, program=admin) == ALLOW


def test_s14_calls_that_are_newer_than_the_profile_do_not_exist() -> None:
    """ENOSYS lets libc use what it knows; EPERM would be taken for an answer."""
    assert action("open_tree_attr") == errno_action(ENOSYS)
    for number in (467, 500, 10_000, X32_BIT - 1, 0xFFFFFFFF):
        assert simulate(PROGRAM, "x86_64", number) == errno_action(ENOSYS)
    assert simulate(PROGRAM, "x86_64", X32_BIT | 600) == errno_action(ENOSYS)


def test_s14_another_architecture_ends_the_process() -> None:
    """An x86_64 kernel never sees arm calls; a filter that did not look would take them for x86_64 ones."""
    assert action("read", architecture="aarch64") == KILL_PROCESS
    arm = compile_profile(DEFAULT_PROFILE, architecture="aarch64", capabilities=caps.DEFAULT, kernel_release="6.18.44")
    assert action("read", architecture="x86_64", program=arm) == KILL_PROCESS
    assert action("read", architecture="aarch64", program=arm) == ALLOW
    assert action("set_tls", architecture="arm", program=arm) == ALLOW
    assert action("mount", architecture="arm", program=arm) == errno_action(EPERM)
    assert simulate(arm, "arm", 468) == errno_action(ENOSYS)
    assert simulate(arm, "arm", 0xF0003) == errno_action(EPERM)


def test_ptrace_needs_a_kernel_that_filters_again_after_the_tracer() -> None:
    """Before 4.8 a tracer could change the call behind the filter's back."""
    old = compile_profile(DEFAULT_PROFILE, architecture="x86_64", capabilities=caps.DEFAULT, kernel_release="4.4.0-generic")
    assert action("ptrace", program=old) == errno_action(EPERM)
    assert action("ptrace") == ALLOW


def test_the_program_is_small() -> None:
    """A fifth of what the kernel takes, for the host's three architectures together."""
    assert len(PROGRAM) // 8 < 800

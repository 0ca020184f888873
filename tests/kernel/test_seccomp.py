"""The compiled default filter in a real kernel: it loads, and decides as the simulator does.

The calls are made by a child interpreter that loads the program first. It reports through its standard output, which the filter
must therefore allow.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import msgspec
import pytest

from docket.domain.confinement import capabilities as caps
from docket.domain.confinement.bpf_simulator import simulate
from docket.domain.confinement.seccomp_compiler import compile_profile
from docket.domain.confinement.seccomp_default import DEFAULT_PROFILE
from docket.domain.confinement.seccomp_profile import ALLOW, Rule, SeccompProfile, errno_action
from docket.domain.confinement.syscall_numbers import NUMBERS, X32_BIT

pytestmark = pytest.mark.root

EPERM, EFAULT, EINVAL, ENOSYS = 1, 14, 22, 38
REFUSED, ALLOWED = 1001, 1002
MACHINE = platform.machine()

# Standard input: a hex program and a JSON list of [number, argument…], a line each. Prints for each call [result, errno].
CHILD = """
import ctypes, json, sys
program, calls = bytes.fromhex(sys.stdin.readline()), json.loads(sys.stdin.readline())
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
class Fprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
def call(*words):
    ctypes.set_errno(0)
    result = libc.syscall(*(ctypes.c_ulong(word) for word in words))
    return [result, ctypes.get_errno()]
assert libc.prctl(38, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0
fprog = Fprog(len(program) // 8, program)
result = libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(fprog))
assert result == 0, ctypes.get_errno()
print(json.dumps([call(*words) for words in calls]))
"""


def outcomes(program: bytes, calls: list[list[int]]) -> list[list[int]]:
    """Result and errno of each call under the filter."""
    text = f"{program.hex()}\n{json.dumps(calls)}\n"
    done = subprocess.run([sys.executable, "-I", "-c", CHILD], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results: list[list[int]] = json.loads(done.stdout)
    return results


def compiled(profile: SeccompProfile = DEFAULT_PROFILE) -> bytes:
    return compile_profile(profile, architecture=MACHINE, capabilities=caps.DEFAULT, kernel_release=platform.release())


def number(name: str) -> int:
    return NUMBERS[MACHINE][name]


REFUSED_CALLS = (
    "io_uring_setup userfaultfd keyctl add_key request_key kexec_load pivot_root swapon swapoff mount umount2 unshare setns "
    "bpf perf_event_open open_by_handle_at fsopen fsmount move_mount open_tree init_module delete_module reboot settimeofday "
    "quotactl kcmp"
).split()


def test_s14_twenty_five_refused_calls_give_eperm_to_root() -> None:
    """The caller has every capability, so it is the filter that refuses; arguments are zero and would be EFAULT or EINVAL."""
    assert len(REFUSED_CALLS) >= 25
    results = outcomes(compiled(), [[number(name), 0, 0, 0, 0, 0, 0] for name in REFUSED_CALLS])
    assert dict(zip(REFUSED_CALLS, results, strict=True)) == {name: [-1, EPERM] for name in REFUSED_CALLS}


def test_s14_clone3_is_enosys_and_so_is_what_comes_after_the_profile() -> None:
    """libc falls back to clone; a program that probes for a new call goes on without."""
    assert outcomes(compiled(), [[number("clone3"), 0, 0], [number("open_tree_attr")], [600]]) == [[-1, ENOSYS]] * 3


def test_s14_socket_families_as_tabled() -> None:
    """AF_ALG and AF_VSOCK are refused, with any upper half; other families get the kernel's own answer."""
    socket, stream = number("socket"), 1
    families = [[socket, family, stream, 0] for family in range(46)]
    garbage = [[socket, high << 32 | family, stream, 0] for high in (1, 0xFFFFFFFF) for family in (38, 40)]
    results = outcomes(compiled(), families + garbage)
    refused = [index for index, (_, errno) in enumerate(results) if errno == EPERM]
    assert {38, 40}.issubset(refused)
    assert refused[-4:] == [46, 47, 48, 49]
    assert results[1][0] >= 0
    assert results[2][0] >= 0


def test_s14_clone_makes_no_namespace() -> None:
    """Each of the seven flags is refused, and the allowed call still reaches the kernel (EINVAL for CLONE_SIGHAND alone)."""
    flags = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
    results = outcomes(
        compiled(), [*([number("clone"), flag, 0, 0, 0, 0] for flag in flags), [number("clone"), 0x800, 0, 0, 0, 0]]
    )
    assert results == [[-1, EPERM]] * 7 + [[-1, EINVAL]]


# What the child needs to make its calls and to report.
_NEEDED = (
    "write exit_group exit mmap munmap mremap brk madvise futex rt_sigaction rt_sigprocmask rt_sigreturn getrandom read close "
    "fstat newfstatat lseek sigaltstack mprotect ioctl clock_gettime gettid getpid tgkill prctl seccomp"
).split()


def marked() -> SeccompProfile:
    """The default profile with error numbers of our own for "allowed" and "refused", so that no call really happens."""
    rules = []
    for rule in DEFAULT_PROFILE.rules:
        names = tuple(name for name in rule.names if name not in _NEEDED)
        action = errno_action(ALLOWED) if rule.action == ALLOW else rule.action
        rules.append(msgspec.structs.replace(rule, names=names, action=action))
    keep = Rule(tuple(_NEEDED), ALLOW)
    return msgspec.structs.replace(DEFAULT_PROFILE, default=errno_action(REFUSED), rules=(keep, *rules))


def test_s14_the_kernel_decides_as_the_simulator_does() -> None:
    """Every number of the host's tables, with two sets of arguments; a call that passed would show by another errno."""
    program = compiled(marked())
    # Since 6.14 these two pass every filter, and SIGILL answers whoever calls them without a probe (kernel/seccomp.c).
    probes = ("uretprobe", "uprobe")
    kept = {NUMBERS[MACHINE].get(name) for name in (*_NEEDED, *probes)}
    numbers = [candidate for candidate in range(600) if candidate not in kept]
    if MACHINE == "x86_64":
        kept_x32 = {NUMBERS["x32"].get(name) for name in _NEEDED}
        numbers += [X32_BIT | low for low in range(600) if X32_BIT | low not in kept_x32]
    calls = [
        [call, *arguments] for call in numbers for arguments in ([0] * 6, [38, 0x7E020000, 5, 0, 0, 0], [1 << 32 | 40] * 6)
    ]
    for call, (result, errno) in zip(calls, outcomes(program, calls), strict=True):
        architecture = "x32" if call[0] & X32_BIT else MACHINE
        assert (result, errno_action(errno)) == (-1, simulate(program, architecture, call[0], call[1:])), call

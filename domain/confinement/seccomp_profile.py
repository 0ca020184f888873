"""A seccomp profile as Docker understands it: which system calls, under which conditions, with which action.

Rules that hold for a profile, and where they come from:

- A rule is in force when all of its ``includes`` and none of its ``excludes`` hold (moby/profiles seccomp): capabilities of the
  container's bounding set, the host's architecture, a minimum kernel.
- The conditions of one rule hold together; rules for the same call are alternatives. Rules with conditions are asked first, in
  their order, then the first rule without, then the default. libseccomp forgets conditional rules as soon as there is one
  without; a rule that someone wrote must not vanish in silence (S14).
- A call that no rule names gets the default action, and a call that the kernel added after the newest one that the profile
  names gets ENOSYS, so that libc falls back to what it knows (as runc does).

Actions are kept as the numbers that the filter returns (SECCOMP_RET_* of linux/seccomp.h).
"""

from __future__ import annotations

import msgspec

ALLOW = 0x7FFF0000
LOG = 0x7FFC0000
TRACE = 0x7FF00000
ERRNO = 0x00050000
TRAP = 0x00030000
KILL_THREAD = 0x00000000
KILL_PROCESS = 0x80000000

EPERM = 1
ENOSYS = 38
MAX_ERRNO = 4095
"""The kernel cuts larger numbers off (linux/err.h)."""

ALL_BITS = 0xFFFFFFFFFFFFFFFF
MAX_ARGUMENTS = 6


def errno_action(number: int) -> int:
    """The action that makes the call fail with this error number."""
    return ERRNO | number


def is_permissive(action: int) -> bool:
    """Whether the call may take place: it is allowed, logged, or left to a tracer."""
    return action & 0x7FFF0000 in (ALLOW, LOG, TRACE)


class Condition(msgspec.Struct, frozen=True):
    """One comparison of an argument, unsigned: ``argument operator value``, for MASKED_EQ ``argument & mask == value``."""

    index: int
    operator: str
    """EQ NE LT LE GT GE or MASKED_EQ."""
    value: int
    mask: int = ALL_BITS


class Scope(msgspec.Struct, frozen=True):
    """Circumstances: capability names, architectures by Go's names (``amd64``), the oldest kernel as (major, minor)."""

    capabilities: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    minimum_kernel: tuple[int, int] | None = None


class Rule(msgspec.Struct, frozen=True):
    """What happens to the named calls when every condition holds."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()
    includes: Scope = Scope()
    excludes: Scope = Scope()


class SeccompProfile(msgspec.Struct, frozen=True):
    """A whole profile. Architectures have docket's names: ``x86_64 i386 x32 aarch64 arm``."""

    default: int
    rules: tuple[Rule, ...] = ()
    sub_architectures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Pairs of a host's architecture and the further ones that its kernel runs."""
    architectures: tuple[str, ...] = ()
    """Further architectures whatever the host's is."""


class Circumstances(msgspec.Struct, frozen=True):
    """What decides which rules are in force. ``capabilities`` is the bounding set as a mask."""

    architecture: str
    capabilities: int
    kernel: tuple[int, int]


_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


def rules_in_force(profile: SeccompProfile, circumstances: Circumstances, numbers: dict[str, int]) -> tuple[Rule, ...]:
    """The rules that apply. ``numbers`` gives the number of each known capability name; an unknown one nobody has."""
    held = frozenset(name for name, number in numbers.items() if circumstances.capabilities >> number & 1)
    architecture = _GO_NAMES.get(circumstances.architecture, circumstances.architecture)
    kernel = circumstances.kernel
    return tuple(
        rule
        for rule in profile.rules
        if _includes(rule.includes, held, architecture, kernel) and not _excludes(rule.excludes, held, architecture, kernel)
    )


def _includes(scope: Scope, held: frozenset[str], architecture: str, kernel: tuple[int, int]) -> bool:
    if scope.architectures and architecture not in scope.architectures:
        return False
    if not held.issuperset(scope.capabilities):
        return False
    return scope.minimum_kernel is None or kernel >= scope.minimum_kernel


def _excludes(scope: Scope, held: frozenset[str], architecture: str, kernel: tuple[int, int]) -> bool:
    if architecture in scope.architectures or not held.isdisjoint(scope.capabilities):
        return True
    return scope.minimum_kernel is not None and kernel >= scope.minimum_kernel

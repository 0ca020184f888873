"""Reading profiles in Docker's JSON format, as ``--security-opt seccomp=FILE`` sends them.

The reader is strict, because what it misreads it would loosen: unknown keys, keys that differ in case, two equal keys and values
out of range are refused with the rule that holds them. Docker ignores names of calls that it does not know, and so must we, since
profiles name calls of every architecture; only a rule that *restricts* such a call is refused, for it could not be kept.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from docket.domain.confinement.capabilities import NUMBERS as CAPABILITIES
from docket.domain.confinement.seccomp_profile import (
    ALL_BITS,
    ALLOW,
    EPERM,
    ERRNO,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    MAX_ARGUMENTS,
    MAX_ERRNO,
    TRACE,
    TRAP,
    Condition,
    Rule,
    Scope,
    SeccompProfile,
    is_permissive,
)
from docket.domain.confinement.syscall_numbers import KNOWN_NAMES
from docket.domain.errors import InvalidArgument, Rejected, Unsupported
from docket.domain.oci.strict_json import InvalidDocument, decode_strict

MAX_CONDITIONS = 12
MAX_RULES = 4096

_ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_TRAP": TRAP,
}
_WITH_NUMBER = frozenset(("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"))
_OPERATORS = frozenset(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
}
# Named by the format, but never met by a filter on the hosts that docket runs on.
_FOREIGN = frozenset(
    (
        "LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PARISC PARISC64 PPC PPC64 PPC64LE RISCV64 S390 "
        "S390X SH SHEB"
    ).split()
)

_Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_Errno = Annotated[int, msgspec.Meta(ge=0, le=MAX_ERRNO)]


class _Argument(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    index: Annotated[int, msgspec.Meta(ge=0, lt=MAX_ARGUMENTS)]
    op: str
    value: _Unsigned = 0
    value_two: _Unsigned = 0


class _Filter(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    caps: list[str] = []
    arches: list[str] = []
    min_kernel: str | None = None


class _Syscall(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    action: str
    name: str = ""
    names: list[str] = []
    errno_ret: _Errno | None = None
    errno: str = ""
    """The number's name, which Podman's profiles add."""
    args: list[_Argument] = []
    comment: str = ""
    includes: _Filter = msgspec.field(default_factory=_Filter)
    excludes: _Filter = msgspec.field(default_factory=_Filter)


class _Architecture(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    architecture: str
    sub_architectures: list[str] = []


class _Profile(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    default_action: str
    default_errno_ret: _Errno | None = None
    default_errno: str = ""
    arch_map: list[_Architecture] = []
    architectures: list[str] = []
    flags: list[str] = []
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[_Syscall] = []
    comment: str = ""


def parse_profile(data: bytes) -> SeccompProfile:
    """The profile that a JSON text describes. Raises `Rejected`."""
    try:
        raw = decode_strict(data, _Profile, "seccomp profile")
    except InvalidDocument as error:
        raise Rejected(InvalidArgument(f"decoding seccomp profile failed: {error}")) from None
    if raw.arch_map and raw.architectures:
        raise _invalid("use either 'architectures' or 'archMap', not both")
    if raw.flags or raw.listener_path or raw.listener_metadata:
        raise Rejected(Unsupported("seccomp profile: flags and listeners are not supported"))
    if len(raw.syscalls) > MAX_RULES:
        raise _invalid(f"{len(raw.syscalls)} rules, at most {MAX_RULES} are read")
    if raw.default_errno and raw.default_errno_ret is None:
        raise _invalid("defaultErrno needs defaultErrnoRet, the number")
    default = _action(raw.default_action, raw.default_errno_ret, "defaultAction")
    return SeccompProfile(
        default=default,
        rules=tuple(_rule(syscall, number, default) for number, syscall in enumerate(raw.syscalls)),
        sub_architectures=_sub_architectures(raw.arch_map),
        architectures=_architectures(raw.architectures),
    )


def _invalid(text: str) -> Rejected:
    return Rejected(InvalidArgument(f"seccomp profile: {text}"))


def _action(name: str, number: int | None, where: str) -> int:
    if name == "SCMP_ACT_NOTIFY":
        raise Rejected(Unsupported(f"seccomp profile: {where}: SCMP_ACT_NOTIFY needs a listener, which is not supported"))
    if name not in _ACTIONS:
        raise _invalid(f"{where}: {name[:40]!r} is no action")
    if name in _WITH_NUMBER:
        return _ACTIONS[name] | (EPERM if number is None else number)
    return _ACTIONS[name]


def _rule(raw: _Syscall, number: int, default: int) -> Rule:
    where = f"syscalls[{number}]"
    if raw.name and raw.names:
        raise _invalid(f"{where}: use either 'name' or 'names', not both")
    names = tuple(raw.names) or ((raw.name,) if raw.name else ())
    if not names or not all(names):
        raise _invalid(f"{where}: names no system call")
    if raw.errno and raw.errno_ret is None:
        raise _invalid(f"{where}: errno needs errnoRet, the number")
    action = _action(raw.action, raw.errno_ret, where)
    if len(raw.args) > MAX_CONDITIONS:
        raise _invalid(f"{where}: {len(raw.args)} args, at most {MAX_CONDITIONS} are read")
    if is_permissive(default) and not is_permissive(action):
        _check_known(names, where)
    return Rule(
        names=names,
        action=action,
        conditions=tuple(_condition(argument, where) for argument in raw.args),
        includes=_scope(raw.includes, f"{where}.includes"),
        excludes=_scope(raw.excludes, f"{where}.excludes"),
    )


def _check_known(names: tuple[str, ...], where: str) -> None:
    """Left out, such a rule would leave its call to a default that permits it."""
    for name in names:
        if name not in KNOWN_NAMES:
            raise _invalid(f"{where}: cannot restrict {name[:40]!r}: no such system call is known")


def _condition(raw: _Argument, where: str) -> Condition:
    operator = raw.op.removeprefix("SCMP_CMP_")
    if operator == raw.op or operator not in _OPERATORS:
        raise _invalid(f"{where}: {raw.op[:40]!r} is no comparison")
    if raw.value > ALL_BITS or raw.value_two > ALL_BITS:
        raise _invalid(f"{where}: a value has more than 64 bits")
    if operator != "MASKED_EQ":
        return Condition(raw.index, operator, raw.value)
    if raw.value_two & ~raw.value:
        raise _invalid(f"{where}: a masked argument can never equal valueTwo, which has bits outside of the mask")
    return Condition(raw.index, operator, raw.value_two, raw.value)


def _scope(raw: _Filter, where: str) -> Scope:
    for capability in raw.caps:
        if capability not in CAPABILITIES:
            raise _invalid(f"{where}: {capability[:40]!r} is no capability")
    return Scope(tuple(raw.caps), tuple(raw.arches), None if raw.min_kernel is None else _kernel(raw.min_kernel, where))


def _kernel(text: str, where: str) -> tuple[int, int]:
    major, dot, minor = text.partition(".")
    for part in (major, minor):
        if not dot or not part.isascii() or not part.isdigit() or len(part) > 5:
            raise _invalid(f"{where}: minKernel {text[:40]!r} is not of the form MAJOR.MINOR")
    return int(major), int(minor)


def _architecture(name: str) -> str | None:
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]
    if name.removeprefix("SCMP_ARCH_") not in _FOREIGN:
        raise _invalid(f"{name[:40]!r} is no architecture")
    return None


def _architectures(names: list[str]) -> tuple[str, ...]:
    return tuple(name for name in map(_architecture, names) if name is not None)


def _sub_architectures(raw: list[_Architecture]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    pairs = ((_architecture(entry.architecture), _architectures(entry.sub_architectures)) for entry in raw)
    return tuple((name, subs) for name, subs in pairs if name is not None)

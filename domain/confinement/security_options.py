"""``--security-opt``: what may be said, and what it means for a start.

    no-new-privileges[=BOOL]      set-user-id programs gain nothing
    seccomp=unconfined|builtin|JSON   no filter, Docker's profile, or this one
    apparmor=unconfined|PROFILE   which loaded profile confines the process from execve on
    systempaths=unconfined        nothing in /proc and /sys is masked or read-only (docker's client says it in other words)
    label=disable                 accepted: there are no SELinux labels; every other label is refused, not dropped
    preset=strict                 docket's own: 11 capabilities instead of 14, and no-new-privileges

A ``:`` may stand for the first ``=``, as old clients write it. An option given twice is refused when the two differ, since which
one wins is nothing that a reader could know.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from docket.domain.confinement import capabilities
from docket.domain.confinement.seccomp_default import DEFAULT_PROFILE
from docket.domain.confinement.seccomp_json import parse_profile
from docket.domain.confinement.seccomp_profile import SeccompProfile
from docket.domain.errors import InvalidArgument, Rejected, Unsupported
from docket.domain.ports import HostFacts

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_LONGEST_SHOWN = 60
_DEFAULT_APPARMOR = "docker-default"


class SecurityOptions(msgspec.Struct, frozen=True):
    """The options of one container, parsed. Empty texts mean "not asked for"."""

    no_new_privileges: bool = False
    seccomp: str = ""
    """``unconfined``, ``builtin`` or a profile in JSON."""
    apparmor: str = ""
    unmasked: bool = False
    preset: str = ""

    @property
    def base_capabilities(self) -> int:
        """The set that ``--cap-add`` and ``--cap-drop`` start from."""
        return capabilities.STRICT if self.preset == "strict" else capabilities.DEFAULT


def parse_security_options(options: Sequence[str]) -> SecurityOptions:
    """Raises `Rejected` in Docker's words; a seccomp profile in JSON is checked as well."""
    given: dict[str, str] = {}
    for option in options:
        key, value = _split(option)
        if given.setdefault(key, value) != value:
            raise Rejected(InvalidArgument(f"security option {key} is given twice, with different values"))
    strict = given.get("preset") == "strict"
    return SecurityOptions(
        no_new_privileges=given.get("no-new-privileges", "true" if strict else "false") == "true",
        seccomp=given.get("seccomp", ""),
        apparmor=given.get("apparmor", ""),
        unmasked=given.get("systempaths") == "unconfined",
        preset=given.get("preset", ""),
    )


def seccomp_profile(options: SecurityOptions, *, privileged: bool) -> SeccompProfile | None:
    """The profile in force, None for unconfined: a privileged container has none unless one is named."""
    if options.seccomp == "unconfined" or (privileged and not options.seccomp):
        return None
    return _profile(options.seccomp)


def apparmor_profile(options: SecurityOptions, host: HostFacts, *, privileged: bool) -> str:
    """The AppArmor profile in force; empty for none. Raises `Rejected` for a named one that this host cannot apply.

    Docker loads docker-default itself; here it is used where somebody has loaded it.
    """
    if options.apparmor == "unconfined" or (not options.apparmor and (privileged or not host.apparmor_default)):
        return ""
    if not host.apparmor:
        told = f"security option {_shown(f'apparmor={options.apparmor}')}: this host has no AppArmor"
        raise Rejected(Unsupported(f"{told}, only apparmor=unconfined is accepted"))
    return options.apparmor or _DEFAULT_APPARMOR


@lru_cache(maxsize=16)
def _profile(text: str) -> SeccompProfile:
    return DEFAULT_PROFILE if text in ("", "builtin") else parse_profile(text.encode("utf-8", "surrogatepass"))


def _split(option: str) -> tuple[str, str]:
    """The key and the value in its one spelling. Raises `Rejected`."""
    if option == "no-new-privileges":
        return option, "true"
    if option == "disable":
        return "label", "disable"
    key, separator, value = option.partition("=")
    if not separator:
        key, separator, value = option.partition(":")
    if not separator:
        raise _invalid(1, option)
    return key, _value(key, value, option)


def _value(key: str, value: str, option: str) -> str:
    if key == "no-new-privileges" and value in _TRUE | _FALSE:
        return "true" if value in _TRUE else "false"
    if key == "seccomp" and value:
        seccomp_profile(SecurityOptions(seccomp=value), privileged=False)
        return value
    if key == "apparmor" and value and value.isprintable():
        return value
    if (key, value) in {("label", "disable"), ("systempaths", "unconfined"), ("preset", "strict")}:
        return value
    if key in ("label", "writable-cgroups"):
        return _unsupported(key, value)
    raise _invalid(2, option)


def _unsupported(key: str, value: str) -> str:
    if key == "writable-cgroups" and value in _FALSE:
        return "false"
    hint = "SELinux labels are not supported; label=disable" if key == "label" else "only writable-cgroups=false"
    raise Rejected(Unsupported(f"security option {_shown(f'{key}={value}')}: {hint} is accepted"))


def _invalid(place: int, option: str) -> Rejected:
    return Rejected(InvalidArgument(f"invalid --security-opt {place}: {_shown(option)}"))


def _shown(text: str) -> str:
    """Quoted as Go does, without control characters (S55), and not a whole profile."""
    short = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
    inner = "".join(c if c.isprintable() and c != '"' else ascii(c)[1:-1].replace('"', '\\"') for c in short)
    return f'"{inner}"'

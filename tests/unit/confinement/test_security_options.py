"""``--security-opt``: every form, and the refusal of everything else."""

from __future__ import annotations

import json

import msgspec
import pytest

from docket.domain.confinement import capabilities as caps
from docket.domain.confinement.seccomp_default import DEFAULT_PROFILE
from docket.domain.confinement.security_options import (
    SecurityOptions,
    apparmor_profile,
    parse_security_options,
    seccomp_profile,
)
from docket.domain.errors import InvalidArgument, Rejected, Unsupported
from docket.kernel.fake.kernel import FakeKernel

PROFILE = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], SecurityOptions()),
        (["no-new-privileges"], SecurityOptions(no_new_privileges=True)),
        (["no-new-privileges=true"], SecurityOptions(no_new_privileges=True)),
        (["no-new-privileges:true"], SecurityOptions(no_new_privileges=True)),
        (["no-new-privileges=1", "no-new-privileges"], SecurityOptions(no_new_privileges=True)),
        (["no-new-privileges=F"], SecurityOptions()),
        (["seccomp=unconfined"], SecurityOptions(seccomp="unconfined")),
        (["seccomp:unconfined"], SecurityOptions(seccomp="unconfined")),
        (["seccomp=builtin"], SecurityOptions(seccomp="builtin")),
        ([f"seccomp={PROFILE}"], SecurityOptions(seccomp=PROFILE)),
        (["apparmor=unconfined"], SecurityOptions(apparmor="unconfined")),
        (["apparmor=docker-default"], SecurityOptions(apparmor="docker-default")),
        (["label=disable"], SecurityOptions()),
        (["label:disable"], SecurityOptions()),
        (["disable"], SecurityOptions()),
        (["systempaths=unconfined"], SecurityOptions(unmasked=True)),
        (["preset=strict"], SecurityOptions(no_new_privileges=True, preset="strict")),
        (["preset=strict", "no-new-privileges=false"], SecurityOptions(preset="strict")),
        (["writable-cgroups=false"], SecurityOptions()),
    ],
)
def test_what_may_be_said(options: list[str], expected: SecurityOptions) -> None:
    """Each option alone and the combinations that mean something together."""
    assert parse_security_options(options) == expected


def test_the_strict_preset_begins_with_fewer_capabilities() -> None:
    """Eleven instead of fourteen."""
    assert parse_security_options(["preset=strict"]).base_capabilities == caps.STRICT
    assert parse_security_options([]).base_capabilities == caps.DEFAULT


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("", 'invalid --security-opt 1: ""'),
        ("foo", 'invalid --security-opt 1: "foo"'),
        ("seccomp", 'invalid --security-opt 1: "seccomp"'),
        ("foo=bar", 'invalid --security-opt 2: "foo=bar"'),
        ("no-new-privileges=maybe", 'invalid --security-opt 2: "no-new-privileges=maybe"'),
        ("No-New-Privileges=true", 'invalid --security-opt 2: "No-New-Privileges=true"'),
        ("seccomp=", 'invalid --security-opt 2: "seccomp="'),
        ("apparmor=", 'invalid --security-opt 2: "apparmor="'),
        ("systempaths=", 'invalid --security-opt 2: "systempaths="'),
        ("preset=lax", 'invalid --security-opt 2: "preset=lax"'),
        ('a"b\x1b', 'invalid --security-opt 1: "a\\"b\\x1b"'),
    ],
)
def test_everything_else_is_refused_in_dockers_words(option: str, text: str) -> None:
    """A misspelled protection must not be dropped; no control character is echoed."""
    with pytest.raises(Rejected) as caught:
        parse_security_options([option])
    assert isinstance(caught.value.rejection, InvalidArgument)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("option", "privileged", "has", "loaded", "profile"),
    [
        ("", False, True, True, "docker-default"),
        ("", False, True, False, ""),
        ("", False, False, False, ""),
        ("", True, True, True, ""),
        ("apparmor=unconfined", False, True, True, ""),
        ("apparmor=unconfined", False, False, False, ""),
        ("apparmor=mine", False, True, True, "mine"),
        ("apparmor=mine", True, True, True, "mine"),
        ("apparmor=mine", False, False, False, None),
        ("apparmor=docker-default", False, False, False, None),
    ],
)
def test_s13_an_apparmor_profile_is_applied_or_refused(
    option: str, privileged: bool, has: bool, loaded: bool, profile: str | None
) -> None:
    """Docker's default where it is loaded; a named one is never dropped silently."""
    host = msgspec.structs.replace(FakeKernel().host(), apparmor=has, apparmor_default=loaded)
    options = parse_security_options([option] if option else [])
    if profile is not None:
        assert apparmor_profile(options, host, privileged=privileged) == profile
        return
    with pytest.raises(Rejected, match="this host has no AppArmor, only apparmor=unconfined is accepted"):
        apparmor_profile(options, host, privileged=privileged)


@pytest.mark.parametrize("option", ["label=type:svirt_t", "label=level:s0", "writable-cgroups=true"])
def test_what_this_engine_cannot_do_is_said(option: str) -> None:
    """501 with what is accepted."""
    with pytest.raises(Rejected, match="is accepted") as caught:
        parse_security_options([option])
    assert isinstance(caught.value.rejection, Unsupported)


@pytest.mark.parametrize(
    "options", [["seccomp=unconfined", "seccomp=builtin"], ["no-new-privileges", "no-new-privileges=false"]]
)
def test_options_that_contradict_each_other_are_refused(options: list[str]) -> None:
    """Which of them wins is nothing to guess about."""
    with pytest.raises(Rejected, match="given twice"):
        parse_security_options(options)


def test_a_profile_is_checked_when_it_is_given() -> None:
    """At create, not at the first start."""
    for value in ("{}", "{", '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"]}]}', "/etc/profile.json"):
        with pytest.raises(Rejected, match="seccomp profile"):
            parse_security_options([f"seccomp={value}"])


def test_which_profile_is_in_force() -> None:
    """The default, the one named, or none; privileged containers have one only when it is named."""
    assert seccomp_profile(SecurityOptions(), privileged=False) is DEFAULT_PROFILE
    assert seccomp_profile(SecurityOptions(), privileged=True) is None
    assert seccomp_profile(SecurityOptions(seccomp="builtin"), privileged=True) is DEFAULT_PROFILE
    assert seccomp_profile(SecurityOptions(seccomp="unconfined"), privileged=False) is None
    named = seccomp_profile(SecurityOptions(seccomp=PROFILE), privileged=True)
    assert named is not None
    assert named.rules[0].names == ("mount",)

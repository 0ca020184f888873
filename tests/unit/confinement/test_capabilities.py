"""Capabilities: numbers, defaults, and the algebra of adding and dropping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.confinement import capabilities as caps
from docket.domain.confinement.capabilities import capability_mask, capability_sets
from docket.domain.errors import InvalidArgument, Rejected

CHOWN, NET_ADMIN, NET_RAW, SYS_ADMIN, BPF = 1 << 0, 1 << 12, 1 << 13, 1 << 21, 1 << 39


def test_numbers_are_the_kernels() -> None:
    """linux/capability.h: from CAP_CHOWN 0 to CAP_CHECKPOINT_RESTORE 40, without a gap."""
    assert caps.NUMBERS["CAP_CHOWN"] == 0
    assert caps.NUMBERS["CAP_NET_RAW"] == 13
    assert caps.NUMBERS["CAP_SYS_ADMIN"] == 21
    assert caps.NUMBERS["CAP_SETFCAP"] == 31
    assert caps.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert sorted(caps.NUMBERS.values()) == list(range(41))


def test_the_defaults_are_dockers_fourteen_and_podmans_eleven() -> None:
    """0xa80425fb is what CapBnd says in a Docker container."""
    assert caps.DEFAULT == 0xA80425FB
    assert caps.DEFAULT.bit_count() == 14
    assert caps.STRICT.bit_count() == 11
    assert caps.names_of(caps.DEFAULT & ~caps.STRICT) == ("CAP_NET_RAW", "CAP_MKNOD", "CAP_AUDIT_WRITE")


ALGEBRA = [
    ([], [], caps.DEFAULT),
    (["NET_ADMIN"], [], caps.DEFAULT | NET_ADMIN),
    (["net_admin"], [], caps.DEFAULT | NET_ADMIN),
    (["CAP_NET_ADMIN"], [], caps.DEFAULT | NET_ADMIN),
    (["Cap_Net_Admin"], [], caps.DEFAULT | NET_ADMIN),
    ([], ["chown"], caps.DEFAULT & ~CHOWN),
    ([], ["ALL"], 0),
    ([], ["all"], 0),
    (["CHOWN"], ["ALL"], CHOWN),
    (["CHOWN"], ["ALL", "CHOWN"], CHOWN),
    (["ALL"], [], caps.ALL),
    (["ALL"], ["SYS_ADMIN"], caps.ALL & ~SYS_ADMIN),
    (["ALL", "SYS_ADMIN"], ["SYS_ADMIN"], caps.ALL & ~SYS_ADMIN),
    (["ALL"], ["ALL"], caps.ALL),
    (["NET_ADMIN"], ["NET_ADMIN"], caps.DEFAULT | NET_ADMIN),
    (["CHOWN", "CHOWN"], [], caps.DEFAULT),
]


@pytest.mark.parametrize(("add", "drop", "expected"), ALGEBRA)
def test_adding_and_dropping_is_dockers_algebra(add: list[str], drop: list[str], expected: int) -> None:
    """moby's TweakCapabilities, including what happens when one name stands on both sides."""
    assert capability_mask(add, drop) == expected


def test_the_strict_preset_is_a_base_like_another() -> None:
    """What is added comes on top of it."""
    assert capability_mask(["NET_RAW"], [], base=caps.STRICT) == caps.STRICT | NET_RAW


def test_privileged_is_all_that_the_host_has() -> None:
    """Drops change nothing, as in Docker; the host's bounding set is the ceiling."""
    available = caps.ALL & ~BPF
    assert capability_mask([], ["ALL"], privileged=True, available=available) == available
    assert capability_mask(["ALL"], [], available=available) == available


@pytest.mark.parametrize("name", ["FOO", "", "CAP_", "CAP_CAP_CHOWN", "CHOWN ", "41", "ÇHOWN", "cap_all", "chown\n"])
def test_an_unknown_capability_is_refused_in_dockers_words(name: str) -> None:
    """Both lists are checked, also when the answer would not depend on them."""
    for add, drop, option in (([name], [], "CapAdd"), ([], [name], "CapDrop")):
        with pytest.raises(Rejected) as caught:
            capability_mask(add, drop, privileged=True)
        assert isinstance(caught.value.rejection, InvalidArgument)
        assert caught.value.rejection.message.startswith(f'invalid {option}: unknown capability: "CAP_')
        assert caught.value.rejection.message.isprintable()


def test_the_text_of_docker() -> None:
    """Word for word."""
    with pytest.raises(Rejected) as caught:
        capability_mask(["foo"])
    assert str(caught.value) == 'invalid CapAdd: unknown capability: "CAP_FOO"'


def test_what_the_host_lacks_is_refused_by_name_and_left_out_of_the_defaults() -> None:
    """Asked for, it cannot be given; as a mere default, less is safe."""
    available = caps.ALL & ~(NET_RAW | BPF)
    assert capability_mask(available=available) == caps.DEFAULT & ~NET_RAW
    with pytest.raises(Rejected, match="not supported by your kernel or not available in the current environment"):
        capability_mask(["BPF"], available=available)
    assert capability_mask([], ["BPF"], available=available) == caps.DEFAULT & ~NET_RAW


def test_s09_inheritable_and_ambient_are_empty_for_everybody() -> None:
    """Root holds the mask; another user keeps only the bounding set."""
    root, user = capability_sets(caps.DEFAULT, 0), capability_sets(caps.DEFAULT, 1000)
    assert root == caps.CapabilitySets(caps.DEFAULT, caps.DEFAULT, caps.DEFAULT, 0, 0)
    assert user == caps.CapabilitySets(caps.DEFAULT, 0, 0, 0, 0)


lists = st.lists(st.sampled_from(["ALL", *caps.NAMES]), max_size=6)


@given(lists, lists, st.integers(0, caps.ALL), st.booleans())
def test_no_combination_exceeds_the_host(add: list[str], drop: list[str], available: int, privileged: bool) -> None:
    """The result is within the host's set and survives the way through names and back."""
    try:
        mask = capability_mask(add, drop, privileged=privileged, available=available)
    except Rejected:
        return
    assert mask & ~available == 0
    assert caps.mask_of(name.removeprefix("CAP_") for name in caps.names_of(mask)) == mask

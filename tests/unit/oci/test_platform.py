"""Which image of an index a machine takes."""

from __future__ import annotations

import pytest

from docket.domain.errors import Rejected
from docket.domain.oci.descriptor import Descriptor, Platform
from docket.domain.oci.digest import digest_of
from docket.domain.oci.platform import choose, host_platform, parse_platform, runs, shown

AMD64 = Platform("amd64", "linux")


def entry(text: str) -> Descriptor:
    system, architecture, *variant = text.split("/")
    return Descriptor("", digest_of(text.encode()), 1, platform=Platform(architecture, system, variant="".join(variant)))


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("linux/amd64", "linux/arm64 linux/amd64", "linux/amd64"),
        ("linux/amd64", "windows/amd64 linux/386", "linux/386"),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2", "linux/amd64/v2"),
        ("linux/arm64", "linux/arm/v7 linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64", "linux/arm/v6 linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v7 linux/arm/v5", "linux/arm/v5"),
        ("linux/arm", "linux/arm", "linux/arm"),
        ("linux/386", "linux/amd64", ""),
        ("linux/s390x", "linux/amd64 unknown/unknown", ""),
    ],
)
def test_the_best_is_chosen(wanted: str, there: str, chosen: str) -> None:
    """The very platform first, then what the processor runs too."""
    entries = [entry(each) for each in there.split()]
    found = choose(entries, parse_platform(wanted, AMD64))
    assert found == (entry(chosen) if chosen else None)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("linux/amd64", "linux/amd64"), ("amd64", "linux/amd64"), ("linux", "linux/amd64"), ("x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"), ("linux/arm64/v8", "linux/arm64"), ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"), ("arm/v6", "linux/arm/v6"), ("Linux/ARM", "linux/arm/v7"),
    ],
)  # fmt: skip
def test_platforms_are_read(text: str, meant: str) -> None:
    """In the forms that people write; what is not said is the host's."""
    assert shown(parse_platform(text, AMD64)) == meant


@pytest.mark.parametrize("text", ["a/b/c/d", "linux/", "plan9/amd64/x", "lin ux/amd64", "/"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    """Before anything is asked of a registry."""
    with pytest.raises(Rejected):
        parse_platform(text, AMD64)


def test_the_host() -> None:
    """As uname says it; an image for it, or for what it runs, fits."""
    assert host_platform("x86_64") == AMD64
    assert runs(Platform("386", "linux"), AMD64)
    assert not runs(Platform("arm64", "linux"), AMD64)

"""Which image of an index a machine takes, as containerd and so Docker choose it.

A platform is written ``os[/architecture[/variant]]`` or ``architecture[/variant]`` in Go's names; ``x86_64`` and ``aarch64`` are
understood too. Newer processors run what was built for older ones, in this order of preference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from docket.domain.errors import InvalidArgument, Rejected
from docket.domain.oci.descriptor import Descriptor, Platform

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386", "i686": "386",
}  # fmt: skip
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd"})
_PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ARM = ("v8", "v7", "v6", "v5")


def host_platform(machine: str) -> Platform:
    """The platform of this machine; ``machine`` is as ``uname -m`` says it."""
    return _normalised(Platform(machine, "linux"))


def parse_platform(text: str, host: Platform) -> Platform:
    """What a person asked for; what is not said is the host's. Raises `Rejected` (`InvalidArgument`)."""
    parts = text.lower().split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise Rejected(InvalidArgument(f"{text[:100]!r}: platform specifier component must match os[/architecture[/variant]]"))
    if parts[0] not in _SYSTEMS:
        if len(parts) > 2:
            raise Rejected(InvalidArgument(f"{text!r}: unknown operating system {parts[0]!r}"))
        parts = [host.os, *parts]
    architecture = parts[1] if len(parts) > 1 else host.architecture
    variant = parts[2] if len(parts) > 2 else ""
    if parts[1:2] in (["armhf"], ["armel"]) and not variant:
        variant = "v7" if parts[1] == "armhf" else "v6"
    return _normalised(Platform(architecture, parts[0], variant=variant))


def _normalised(platform: Platform) -> Platform:
    architecture = _ARCHITECTURES.get(platform.architecture.lower(), platform.architecture.lower())
    variant = platform.variant.lower()
    if (architecture, variant) in {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")}:
        variant = ""
    if architecture == "arm":
        variant = variant if variant.startswith("v") else f"v{variant or 7}"
    return Platform(architecture, platform.os.lower(), variant=variant)


def shown(platform: Platform) -> str:
    """As people write it."""
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


def runs(platform: Platform, wanted: Platform) -> bool:
    """Whether an image for ``platform`` is one for ``wanted``."""
    return _normalised(platform) in _acceptable(wanted)


def choose(manifests: Sequence[Descriptor], wanted: Platform) -> Descriptor | None:
    """The best of an index's manifests; None when none fits. Of equals the first one."""
    for acceptable in _acceptable(wanted):
        for each in manifests:
            if each.platform is not None and _normalised(each.platform) == acceptable:
                return each
    return None


def _acceptable(wanted: Platform) -> list[Platform]:
    """Best first."""
    wanted = _normalised(wanted)
    found = [wanted]
    if wanted.architecture == "arm64" and not wanted.variant:
        found += [Platform("arm", wanted.os, variant=each) for each in _ARM]
    elif wanted.architecture == "arm" and wanted.variant in _ARM:
        found += [Platform("arm", wanted.os, variant=each) for each in _ARM[_ARM.index(wanted.variant) + 1 :]]
    elif wanted.architecture == "amd64":
        if wanted.variant in {"v2", "v3", "v4"}:
            found += [Platform("amd64", wanted.os, variant=f"v{each}") for each in range(int(wanted.variant[1]) - 1, 1, -1)]
            found.append(Platform("amd64", wanted.os))
        found.append(Platform("386", wanted.os))
    return found

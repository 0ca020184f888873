"""Capabilities: their numbers, Docker's default set, and what ``--cap-add`` and ``--cap-drop`` make of it.

A set is a 64-bit mask, bit N for capability N (capabilities(7), linux/capability.h). Rules:

- Inheritable and ambient sets are always empty: an inheritable set that is not lets a program with file capabilities in the image
  gain what the container's user was never given (S9).
- The bounding set is what the container may ever have; root's permitted and effective sets equal it. Another user keeps the
  bounding set, for set-user-id programs, and has nothing permitted.
- A capability that is asked for by name and that the engine itself does not have is refused, never left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from docket.domain.errors import InvalidArgument, Rejected

NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
"""Without prefix, in the order of their numbers: CAP_CHOWN is 0, CAP_CHECKPOINT_RESTORE is 40."""

NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}
ALL = (1 << len(NAMES)) - 1


class CapabilitySets(msgspec.Struct, frozen=True):
    """The five sets of a process, as masks."""

    bounding: int
    permitted: int
    effective: int
    inheritable: int = 0
    ambient: int = 0


def mask_of(names: Iterable[str]) -> int:
    """The mask of capability names without prefix."""
    mask = 0
    for name in names:
        mask |= 1 << NUMBERS[f"CAP_{name}"]
    return mask


DEFAULT = mask_of(
    (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
        "AUDIT_WRITE"
    ).split()
)
"""Docker's 14."""

STRICT = DEFAULT & ~mask_of(("MKNOD", "NET_RAW", "AUDIT_WRITE"))
"""Podman's 11: the set of ``preset=strict``."""


def names_of(mask: int) -> tuple[str, ...]:
    """The names, with prefix, of a mask's capabilities, in the order of their numbers."""
    return tuple(f"CAP_{name}" for number, name in enumerate(NAMES) if mask >> number & 1)


def normalise(name: str) -> str:
    """``net_admin`` and ``CAP_NET_ADMIN`` are both ``CAP_NET_ADMIN``; ``ALL`` stays. Raises `Rejected` for an unknown name."""
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in NUMBERS:
        raise Rejected(InvalidArgument(f'unknown capability: "{_printable(full)}"'))
    return full


def capability_mask(
    add: Sequence[str] = (), drop: Sequence[str] = (), *, privileged: bool = False, base: int = DEFAULT, available: int = ALL
) -> int:
    """The set that results, within what the host has ``available``.

    As in Docker: what is added wins over what is dropped, except that ``--cap-add ALL`` is all but what is dropped; privileged
    is everything whatever is dropped. Of ``base``, what the host lacks is left out. Raises `Rejected` for an unknown name and for
    an added one that the host lacks.
    """
    added = _normalised(add, "CapAdd", available)
    dropped = _normalised(drop, "CapDrop", ALL)
    if privileged:
        return available
    removed = mask_of(name.removeprefix("CAP_") for name in dropped if name != "ALL")
    if "ALL" in added:
        return available & ~removed
    kept = 0 if "ALL" in dropped else base & available & ~removed
    return kept | mask_of(name.removeprefix("CAP_") for name in added)


def capability_sets(mask: int, uid: int) -> CapabilitySets:
    """The sets of a process of user ``uid`` after execve, in a container whose set is ``mask``."""
    held = mask if uid == 0 else 0
    return CapabilitySets(bounding=mask, permitted=held, effective=held)


def _normalised(names: Sequence[str], option: str, available: int) -> list[str]:
    result = []
    for name in names:
        try:
            full = normalise(name)
        except Rejected as error:
            raise Rejected(InvalidArgument(f"invalid {option}: {error.rejection.message}")) from None
        if full != "ALL" and not available >> NUMBERS[full] & 1:
            raise Rejected(
                InvalidArgument(
                    f"invalid {option}: capability not supported by your kernel or not available in the current environment: "
                    f'"{full}"'
                )
            )
        result.append(full)
    return result


def _printable(text: str) -> str:
    """For error texts: no control byte of a request reaches a terminal (S55)."""
    return text[:64].encode("ascii", "backslashreplace").decode("ascii") if text.isprintable() else ascii(text[:64])[1:-1]

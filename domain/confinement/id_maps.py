"""User namespaces: the ids of a container's users on the host, from /etc/subuid and /etc/subgid (subuid(5)).

    dockremap:100000:65536       user, first id on the host, how many

Ranges of a user follow each other inside, in the order of their first id: container ids are 0, 1, 2 … without a gap.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_LARGEST_ID = (1 << 32) - 2
_MOST_RANGES = 340
"""Lines that uid_map takes since Linux 4.15."""


class IdMapping(msgspec.Struct, frozen=True, array_like=True):
    """One line of uid_map or gid_map (user_namespaces(7))."""

    inside: int
    outside: int
    count: int


class IdMaps(msgspec.Struct, frozen=True):
    """The ids of one user namespace."""

    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]

    @property
    def root(self) -> tuple[int, int]:
        """User and group on the host that container root is."""
        return on_host(self.uids, 0), on_host(self.gids, 0)


def on_host(mappings: Iterable[IdMapping], inside: int) -> int:
    """What an id of the container is on the host. Raises ValueError for one that is not mapped."""
    for mapping in mappings:
        if mapping.inside <= inside < mapping.inside + mapping.count:
            return mapping.outside + inside - mapping.inside
    raise ValueError(f"id {inside} is not mapped")


def subordinate_ids(text: str, path: str, names: Iterable[str]) -> tuple[IdMapping, ...]:
    """The ranges that the file ``path``, which holds ``text``, gives to a user who has these names. Raises ValueError."""
    wanted = tuple(names)
    ranges: set[tuple[int, int]] = set()
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.strip().split(":")
        if fields[0] not in wanted or not fields[0]:
            continue
        if len(fields) != 3 or not all(_is_id(field) for field in fields[1:]):
            raise ValueError(f"cannot parse {path}: line {number} is not name:first:count")
        first, count = int(fields[1]), int(fields[2])
        if not count or first + count - 1 > _LARGEST_ID:
            raise ValueError(f"cannot parse {path}: line {number} has no ids between 0 and {_LARGEST_ID}")
        ranges.add((first, count))
    found: list[IdMapping] = []
    for first, count in sorted(ranges):
        if found and first < found[-1].outside + found[-1].count:
            raise ValueError(f"ranges of {wanted[0]} in {path} overlap at id {first}")
        found.append(IdMapping(found[-1].inside + found[-1].count if found else 0, first, count))
    if not found or len(found) > _MOST_RANGES:
        raise ValueError(
            f"no {path.rpartition('/')[2]} ranges found for user {wanted[0]!r}" if not found else f"too many ranges in {path}"
        )
    return tuple(found)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10

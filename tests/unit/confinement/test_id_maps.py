"""Subordinate ids, read as subuid(5) says."""

from __future__ import annotations

import re

import pytest

from docket.domain.confinement.id_maps import IdMapping, IdMaps, on_host, subordinate_ids

PATH = "/etc/subuid"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("me:100000:65536\n", [(0, 100_000, 65_536)]),
        ("you:1:2\nme:100000:10\nme:5000:7\n", [(0, 5000, 7), (7, 100_000, 10)]),
        ("1000:100000:5\nme:200000:5\n", [(0, 100_000, 5), (5, 200_000, 5)]),
        ("# comment\n\n  me:9:1  \nme:9:1\n", [(0, 9, 1)]),
        ("me:4294967294:1\n", [(0, 4_294_967_294, 1)]),
    ],
)
def test_ranges_follow_each_other_inside(text: str, found: list[tuple[int, int, int]]) -> None:
    """By their first id on the host, those of the name and of the number together."""
    assert subordinate_ids(text, PATH, ("me", "1000")) == tuple(IdMapping(*each) for each in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no subuid ranges found for user 'me'"),
        ("you:1:2\n", "no subuid ranges found for user 'me'"),
        ("me:1\n", "cannot parse /etc/subuid: line 1 is not name:first:count"),
        ("x:1:1\nme:-1:5\n", "cannot parse /etc/subuid: line 2 is not name:first:count"),
        ("me:\u0663:5\n", "line 1 is not name:first:count"),
        ("me:1_0:5\n", "line 1 is not name:first:count"),
        ("me:5:0\n", "line 1 has no ids"),
        ("me:4294967294:2\n", "line 1 has no ids between 0 and 4294967294"),
        ("me:10:10\nme:19:5\n", "ranges of me in /etc/subuid overlap at id 19"),
        ("".join(f"me:{number * 10}:1\n" for number in range(1, 342)), "too many ranges in /etc/subuid"),
    ],
)
def test_what_is_no_range_is_refused(text: str, message: str) -> None:
    """No number is guessed at: a wrong one would give a container somebody else's files (S11)."""
    with pytest.raises(ValueError, match=re.escape(message)):
        subordinate_ids(text, PATH, ("me", "1000"))


def test_the_root_of_a_container_on_the_host() -> None:
    """Also when it is not the first range."""
    maps = IdMaps((IdMapping(1, 5, 2), IdMapping(0, 77, 1)), (IdMapping(0, 88, 2),))
    assert maps.root == (77, 88)
    assert on_host(maps.uids, 2) == 6
    with pytest.raises(ValueError, match="id 3 is not mapped"):
        on_host(maps.uids, 3)

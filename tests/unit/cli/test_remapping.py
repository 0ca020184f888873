"""``--userns-remap``: dockerd's rules for users, groups and their subordinate ids."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("pwd", reason="accounts are a matter of Unix")

from docket.cli.remapping import id_maps
from docket.domain.confinement.id_maps import IdMapping, IdMaps

FIRST = (IdMapping(0, 100_000, 65_536),)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """/etc/subuid and /etc/subgid of a test."""
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("dockremap:100000:65536\nnobody:100000:65536\n")
    return str(tmp_path / "subuid"), str(tmp_path / "subgid")


@pytest.mark.parametrize("text", ["default", "dockremap", "nobody", "65534", "nobody:nogroup", "65534:65534", "nobody:65534"])
def test_a_user_with_ranges(files: tuple[str, str], text: str) -> None:
    """Names and numbers; the ranges are the user's, the group must only exist."""
    if text == "dockremap":
        with pytest.raises(ValueError, match='error during uid lookup for "dockremap": no such user'):
            id_maps(text, *files)
        return
    if text == "nobody":  # Debian's group of that user is called otherwise
        with pytest.raises(ValueError, match='error during gid lookup for "nobody": no such group'):
            id_maps(text, *files)
        return
    assert id_maps(text, *files) == IdMaps(FIRST, FIRST)


@pytest.mark.parametrize("text", ["", "root", "0", "root:root", "0:0"])
def test_nobody_is_mapped_to_themselves(files: tuple[str, str], text: str) -> None:
    """No option, and root, are no user namespace."""
    assert id_maps(text, *files) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:b:c", 'invalid user/group specification in --userns-remap: "a:b:c"'),
        ("nobody:", 'invalid user/group specification in --userns-remap: "nobody:"'),
        ("no-such-user", 'error during uid lookup for "no-such-user": no such user'),
        ("2147483646", "uid 2147483646 has no entry in /etc/passwd: no such user"),
        ("nobody:no-such-group", 'error during groupname lookup for "no-such-group": no such group'),
        ("65534:2147483646", "gid 2147483646 has no entry in /etc/group: no such group"),
        (
            "daemon",
            "can't create ID mappings: no subuid ranges found for user 'daemon': add a line such as daemon:100000:65536",
        ),
    ],
)
def test_what_is_no_mapping_is_refused(files: tuple[str, str], text: str, message: str) -> None:
    """With what is to be done."""
    with pytest.raises(ValueError, match=re.escape(message)):
        id_maps(text, *files)


def test_a_missing_file_is_named(files: tuple[str, str], tmp_path: Path) -> None:
    """A host without the shadow tools has none."""
    with pytest.raises(ValueError, match=r"can't create ID mappings: open .*gone: no such file or directory"):
        id_maps("default", files[0], str(tmp_path / "gone"))

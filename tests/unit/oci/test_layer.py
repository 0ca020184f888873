"""Names in layers that remove things from the layers below."""

import pytest

from docket.domain.oci.layer import NameKind, kind_of, whiteout_target

NAMES = {
    b"file": NameKind.ORDINARY,
    b"": NameKind.ORDINARY,
    b"wh.x": NameKind.ORDINARY,
    b"x.wh.y": NameKind.ORDINARY,
    b".wh.x": NameKind.WHITEOUT,
    b".wh..x": NameKind.WHITEOUT,
    b".wh..wh": NameKind.WHITEOUT,
    b".wh..wh..opq": NameKind.OPAQUE,
    b".wh..wh.aufs": NameKind.META,
    b".wh..wh.plnk": NameKind.META,
    b".wh..wh..opq2": NameKind.META,
    b".wh.": NameKind.INVALID,
    b".wh..": NameKind.INVALID,
    b".wh...": NameKind.INVALID,
}


@pytest.mark.parametrize("name", NAMES)
def test_s22_every_marker_has_one_meaning(name: bytes) -> None:
    """A whiteout of a name, of a directory's contents, a note of aufs, or something that must be refused."""
    assert kind_of(name) is NAMES[name]


def test_s22_a_whiteout_names_what_it_removes() -> None:
    """The name after the prefix, dots and all."""
    assert whiteout_target(b".wh..bashrc") == b".bashrc"

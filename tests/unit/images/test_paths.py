"""Names from archives become paths below a directory or are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.adapters.images.errors import InvalidArchive
from docket.adapters.images.paths import MAX_DEPTH, member_path, show


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a/b", b"a/b"),
        (b"./a", b"a"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"a//b/./c/", b"a/b/c"),
        (b".", b""),
        (b"", b""),
        (b"..a/b..", b"..a/b.."),
    ],
)
def test_s21_an_absolute_name_lies_below_the_root(name: bytes, path: bytes) -> None:
    """A join with an absolute name would be that name; here it never is."""
    assert member_path(name) == path


@pytest.mark.parametrize(
    "name", [b"..", b"../x", b"a/../b", b"a/..", b"/..", b"a\0b", b"x" * 256, b"a/" * 3000, b"a/" * MAX_DEPTH + b"a"]
)
def test_s19_names_that_climb_or_exceed_are_refused(name: bytes) -> None:
    """Two dots are refused wherever they stand, and so is what no file system takes."""
    with pytest.raises(InvalidArchive):
        member_path(name)


@given(st.binary(max_size=60) | st.text(alphabet="./a\0", max_size=30).map(str.encode))
def test_s21_every_name_stays_inside_or_is_refused(name: bytes) -> None:
    """Whatever comes, the result has no empty part, no dot, no two dots and no leading slash."""
    try:
        path = member_path(name)
    except InvalidArchive:
        return
    assert not path or not {b"", b".", b".."}.intersection(path.split(b"/"))


def test_s55_names_in_messages_steer_no_terminal() -> None:
    """Escape sequences of a hostile name are shown, not sent."""
    assert show(b"\x1b[2J\xff\xe2\x80\xae").isprintable()

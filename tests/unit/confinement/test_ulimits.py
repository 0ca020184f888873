"""Resource limits: Docker's notation and refusals."""

from __future__ import annotations

import pytest

from docket.domain.confinement.ulimits import check_ulimit, check_ulimits, parse_ulimit
from docket.domain.errors import Rejected
from docket.domain.model.container.spec import Ulimit


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nofile=1024", Ulimit("nofile", 1024, 1024)),
        ("nofile=1024:2048", Ulimit("nofile", 1024, 2048)),
        ("core=0", Ulimit("core", 0, 0)),
        ("core=-1", Ulimit("core", -1, -1)),
        ("stack=8:-1", Ulimit("stack", 8, -1)),
        ("memlock=-1:-1", Ulimit("memlock", -1, -1)),
    ],
)
def test_limits(text: str, limit: Ulimit) -> None:
    """One number is both limits; -1 is none."""
    assert parse_ulimit(text) == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo", "invalid ulimit argument: foo"),
        ("foo=1", "invalid ulimit type: foo"),
        ("NOFILE=1", "invalid ulimit type: NOFILE"),
        ("nofile=5:2", "ulimit soft limit must be less than or equal to hard limit: 5 > 2"),
        ("nofile=-1:2", "ulimit soft limit must be less than or equal to hard limit: -1 > 2"),
        ("nofile=1:2:3", "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`"),
        ("nofile=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("nofile=", 'strconv.ParseInt: parsing "": invalid syntax'),
        ("nofile=1:", 'strconv.ParseInt: parsing "": invalid syntax'),
        ("nofile=1_0", 'strconv.ParseInt: parsing "1_0": invalid syntax'),
        ("nofile=٣", 'strconv.ParseInt: parsing "\\u0663": invalid syntax'),
        ("nofile=-2", "invalid ulimit nofile: -2 is neither a limit nor -1"),
        ("nofile=9223372036854775808", "invalid ulimit nofile: 9223372036854775808 is neither a limit nor -1"),
    ],
)
def test_refusals_are_dockers(text: str, message: str) -> None:
    """Each names the limit and what is wrong with it."""
    with pytest.raises(Rejected) as caught:
        parse_ulimit(text)
    assert str(caught.value) == message


def test_the_last_word_on_a_name_counts() -> None:
    """As in Docker, where they are a map."""
    assert check_ulimits([Ulimit("core", 0, 0), Ulimit("core", 1, 1)]) == (Ulimit("core", 1, 1),)
    with pytest.raises(Rejected):
        check_ulimit(Ulimit("threads", 1, 1))

"""Query strings: Docker's booleans, repeated names, and nothing guessed at."""

import pytest

from docket.adapters.http import HttpError, Query


@pytest.mark.parametrize("text", ["", "0", "no", "false", "none", "False", "NONE", "No", "FALSE"])
def test_false_words(text: str) -> None:
    """`force=False`, as docker-py sends it, must not delete things."""
    assert Query.parse(f"force={text}").boolean("force", default=True) is False


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "2", "x"])
def test_everything_else_is_true(text: str) -> None:
    """The CLI sends `1`, docker-py `True`; any other word counts as true as well."""
    assert Query.parse(f"force={text}").boolean("force") is True


def test_absent_takes_the_default() -> None:
    """A parameter that is not there is not false by itself."""
    query = Query.parse("a=1")
    assert query.boolean("b") is False
    assert query.boolean("b", default=True) is True
    assert query.get("b") is None
    assert query.integer("b", 7) == 7
    assert "b" not in query
    assert "a" in query


def test_repeated_names_keep_their_order() -> None:
    """A build sends several `t`; the first value counts where one is asked for."""
    query = Query.parse("t=a:1&t=b%2Fc:2&x=&t=d+e")
    assert query.all("t") == ["a:1", "b/c:2", "d e"]
    assert query.get("t") == "a:1"
    assert query.get("x") == ""
    assert query.names() == ["t", "x"]
    assert query.all("none") == []


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("-1", -1), ("+3", 3), ("", None), ("007", 7)])
def test_integers(text: str, value: int | None) -> None:
    """Signs are allowed, `limit=-1` comes with every compose list; empty is absent."""
    assert Query([("n", text)]).integer("n") == value


@pytest.mark.parametrize("text", ["1.5", "1_0", " 7", "٣", "0x10", "1" * 19, "abc", "1\n"])
def test_other_numbers_are_refused(text: str) -> None:
    """What int() would accept beyond ASCII digits is a 400."""
    with pytest.raises(HttpError) as caught:
        Query([("n", text)]).integer("n")
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["a=%", "a=%4", "a=%zz", "%=1", "a=%ff", "&".join(["a=1"] * 1001)])
def test_malformed_queries_are_refused(text: str) -> None:
    """Bad escapes, bytes that are not UTF-8 and floods of parameters are a 400."""
    with pytest.raises(HttpError) as caught:
        Query.parse(text)
    assert caught.value.status == 400

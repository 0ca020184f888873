"""Quotes, escapes and variables of Dockerfile instructions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.domain.oci.shell_words import InvalidWord, expand_word, split_words

ENVIRONMENT = {"A": "one", "EMPTY": "", "P": "/bin"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        ("  a\t b ", ["a", "b"]),
        ('a="b c" d', ['a="b c"', "d"]),
        ("a='b c'd", ["a='b c'd"]),
        (r"a\ b c", [r"a\ b", "c"]),
        (r"'a\' b", [r"'a\'", "b"]),
        ("", []),
    ],
)
def test_blanks_split_outside_quotes_only(text: str, words: list[str]) -> None:
    """Words keep their quotes until they are expanded."""
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A", "one"),
        ("${A}x", "onex"),
        ("$P:/x", "/bin:/x"),
        ("'$A'", "$A"),
        ('"$A b"', "one b"),
        (r"\$A", "$A"),
        (r'"\$A \" \x"', r'$A " \x'),
        ("$NONE", ""),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-${A}}", "one"),
        ("${A:+yes}", "yes"),
        ("${NONE:+yes}", ""),
        ("$", "$"),
        ("a$/b", "a$/b"),
        ("x\\", "x\\"),
        ("$(rm)", "$(rm)"),
    ],
)
def test_words_expand_as_in_a_dockerfile(text: str, value: str) -> None:
    """Variables come from the image alone; commands are never run."""
    assert expand_word(text, ENVIRONMENT) == value


@pytest.mark.parametrize("text", ["'a", '"a', "${A", "${}", "${A?x}", "${A:=x}", "${A:-" * 30 + "}" * 30])
def test_unfinished_and_unknown_forms_are_refused(text: str) -> None:
    """An open quote is an error, not the rest of the line."""
    with pytest.raises(InvalidWord):
        expand_word(text, {})


@given(st.text(alphabet="aA '\"\\${}:-+", max_size=60))
def test_every_text_ends_in_a_value_or_an_error(text: str) -> None:
    """No input makes the lexer fail in another way or run for ever."""
    for word in split_words(text):
        try:
            expand_word(word, ENVIRONMENT)
        except InvalidWord:
            continue

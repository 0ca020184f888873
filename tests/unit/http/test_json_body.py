"""JSON bodies: strict, so that nobody reads the same bytes differently."""

import pytest

from docket.adapters.http import HttpError
from docket.adapters.http.json_body import MAX_DEPTH, decode


def refused(body: bytes) -> str:
    with pytest.raises(HttpError) as caught:
        decode(body)
    assert caught.value.status == 400
    return caught.value.message


def test_plain_values() -> None:
    """Ordinary JSON comes through unchanged, escapes and pairs of surrogates included."""
    assert decode(b'{"a": [1, 2.5, null, true, "\\u00e9\\ud83d\\ude00"], "b": {}}') == {
        "a": [1, 2.5, None, True, "é😀"],
        "b": {},
    }


def test_s24_duplicate_keys_are_refused() -> None:
    """The last of two equal keys would win here and the first elsewhere, at any depth."""
    assert "'Privileged'" in refused(b'{"HostConfig": {"Privileged": false, "Privileged": true}}')
    assert "twice" in refused(b'{"a": 1, "\\u0061": 2}')


@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"1e999", b"-1e999"])
def test_s24_numbers_that_are_none_are_refused(text: bytes) -> None:
    """JSON has no NaN and no infinity, by name or by overflow."""
    refused(text)


@pytest.mark.parametrize("text", [b"{", b"{'a': 1}", b"[1,]", b"\xff", b"\xef\xbb\xbf{}", b"1 2", b"9" * 5000, b"x"])
def test_what_is_not_json_is_refused(text: bytes) -> None:
    """Broken syntax, broken UTF-8, a byte order mark and numbers of thousands of digits are a 400, never a crash."""
    refused(text)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    """The cap holds exactly, and a hundred thousand levels do not exhaust the stack."""
    closing = b"]" if opening == b"[" else b"}"
    decode(opening * MAX_DEPTH + b"1" + closing * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 500, 100_000):
        assert "deeper" in refused(opening * depth + b"1" + closing * depth)


def test_wide_is_not_deep() -> None:
    """Many values side by side are no reason to refuse."""
    assert len(decode(b"[" + b",".join([b"[{}]"] * 1000) + b"]")) == 1000


def test_s32_lone_surrogates_are_refused() -> None:
    """Half a character in a key or a value could not be stored as UTF-8 later."""
    assert "surrogate" in refused(b'{"a": "\\ud800"}')
    assert "surrogate" in refused(b'{"\\udc00": 1}')

"""Request heads, without any I/O: one strict grammar, and no bytes that crash it."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.adapters.http import MalformedRequest
from docket.adapters.http.head import Framing, check_unfinished, header_dict, parse_head, split_target


def parse(head: bytes) -> tuple[h11.Request, Framing]:
    return parse_head(h11.Connection(h11.SERVER), head, 128)


def test_fields_and_framing() -> None:
    """Names are lower case, repeated fields are joined, and the body's framing is told apart."""
    event, framing = parse(b"POST /x?y=1 HTTP/1.1\r\nHost: a\r\nX-B: 1\r\nx-b:  2 \r\nContent-Length: 17\r\n\r\n")
    assert header_dict(event) == {"host": "a", "x-b": "1, 2", "content-length": "17"}
    assert framing == Framing(length=17)
    assert parse(b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n")[1] == Framing(chunked=True)
    assert parse(b"GET / HTTP/1.0\r\n\r\n")[1] == Framing()


def test_too_many_fields_are_431() -> None:
    """The number of fields is capped as well as their bytes."""
    fields = b"".join(b"X-%d: 1\r\n" % number for number in range(127))
    parse(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    with pytest.raises(MalformedRequest) as caught:
        parse(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n" + fields + b"\r\n")
    assert caught.value.status == 431


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a/b", ("/a/b", "")),
        ("/a?b=c?d", ("/a", "b=c?d")),
        ("/images/a%2Fb%3A1/json", ("/images/a/b:1/json", "")),
        ("/caf%C3%A9", ("/café", "")),
        ("/%25", ("/%", "")),
    ],
)
def test_targets(target: str, expected: tuple[str, str]) -> None:
    """The path is decoded once, the query is left to its own parser."""
    assert split_target(target) == expected


@pytest.mark.parametrize("target", ["*", "http://a/b", "a", "/%", "/%2", "/%zz", "/%ff", "/%00", "/a%0d%0ab", "/%7f"])
def test_malformed_targets(target: str) -> None:
    """Other forms of target, broken escapes, broken UTF-8 and control characters are a 400."""
    with pytest.raises(MalformedRequest):
        split_target(target)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\n", b"\x16\x03\x01", b"GET /\0", b"GET / HTTP/1.1\rX", b"\nGET"])
def test_hopeless_beginnings_are_refused_at_once(data: bytes) -> None:
    """Bare line endings, NUL and a TLS hello need no time-out to be recognised."""
    with pytest.raises(MalformedRequest):
        check_unfinished(data, 0)


def test_unfinished_beginnings_are_waited_for() -> None:
    """A carriage return whose line feed is still under way is not an error."""
    check_unfinished(b"GET / HTTP/1.1\r", 0)
    check_unfinished(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0)


@given(st.binary(max_size=200))
def test_s38_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    """Whatever comes, the only exception is the one that means 400."""
    for head in (data, b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n", b"GET " + data + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
        try:
            event, framing = parse(head)
        except MalformedRequest:
            continue
        assert 0 <= framing.length < 10**18
        assert header_dict(event)

"""Request heads, without any I/O: one strict grammar, and no bytes that crash it."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket.adapters.http import MalformedRequest
from docket.adapters.http.head import Framing, Head, check_unfinished, parse_head, split_target


def parse(head: bytes) -> Head:
    return parse_head(head, 128)


def check_with_h11(data: bytes, head: Head) -> None:
    """Whatever we accept, h11 accepts, and reads in the same way."""
    event = h11.Connection(h11.SERVER)
    event.receive_data(data)
    request = event.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method.decode(), request.target.decode()) == (head.method, head.target)
    assert request.http_version == (b"1.0" if head.is_http10 else b"1.1")
    fields: dict[str, list[str]] = {}
    for name, value in request.headers:
        fields.setdefault(name.decode(), []).append(value.decode("latin-1"))
    if head.framing.chunked:
        fields["transfer-encoding"] = [head.headers["transfer-encoding"]]  # h11 makes it lower case.
    assert {name: ", ".join(values) for name, values in fields.items()} == head.headers
    assert event.they_are_waiting_for_100_continue == (not head.is_http10 and head.has_option("expect", "100-continue"))


def test_fields_and_framing() -> None:
    """Names are lower case, repeated fields are joined, and the body's framing is told apart."""
    head = parse(b"POST /x?y=1 HTTP/1.1\r\nHost: a\r\nX-B: 1\r\nx-b:  2 \r\nContent-Length: 17\r\n\r\n")
    assert (head.method, head.target, head.is_http10) == ("POST", "/x?y=1", False)
    assert head.headers == {"host": "a", "x-b": "1, 2", "content-length": "17"}
    assert head.framing == Framing(length=17)
    assert parse(b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n").framing == Framing(chunked=True)
    assert parse(b"GET / HTTP/1.0\r\n\r\n").framing == Framing()
    assert parse(b"GET / HTTP/1.1\r\nHost:a\r\nConnection: x, Close\r\n\r\n").has_option("connection", "close")


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


PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"Host: a", b"HOST:b", b"\r\n", b"\n", b"\r", b" ", b":", b"X: y\xff", b"x:\t z ",
         b"Expect:\xa0100-continue", b"Expect: 100-Continue",
         b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: CHUNKED", b"Connection: close", b"\x85: \xa0",
         b"A:\x0b", b"A: b\x01"]
    ),
)  # fmt: skip


@given(st.lists(PIECES, max_size=8), st.sampled_from([b"1.1", b"1.0", b"1.2"]))
def test_s38_any_bytes_are_parsed_as_h11_does_or_refused(pieces: list[bytes], version: bytes) -> None:
    """Whatever comes, the only exception is the one that means 400; and what is accepted has one meaning."""
    data = b"".join(pieces)
    lines = b"\r\n".join(pieces)
    for head in (
        data,
        b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + lines + b"\r\n\r\n",
        b"GET / HTTP/" + version + b"\r\n" + data + b"\r\n\r\n",
        b"GET " + data + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        data + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        try:
            accepted = parse(head)
        except MalformedRequest:
            continue
        check_with_h11(head, accepted)

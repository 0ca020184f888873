"""Answers as bytes: framing by length, chunks or the connection's end, and fields that cannot break out."""

import pytest

from docket.adapters.http.wire import BodyFraming, field_lines, hijack_head


@pytest.mark.parametrize(
    ("name", "value"), [("A", "x\r\nB: y"), ("A", "x\0"), ("A B", "x"), ("A", "é"), ("", "x"), ("A\n", "x")]
)
def test_fields_cannot_break_the_header(name: str, value: str) -> None:
    """A line ending in a value would start a second field, or a second answer."""
    with pytest.raises(ValueError, match="cannot be sent"):
        field_lines([(name, value)])


def test_length_is_sent_and_kept() -> None:
    """A body must be exactly as long as it was announced."""
    framing = BodyFraming(200, 3, is_head=False, is_http10=False)
    assert framing.head(b"Server: s\r\n", [("X", "y")], "text/plain", close=False) == (
        b"HTTP/1.1 200 OK\r\nServer: s\r\nX: y\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n"
    )
    assert framing.frame(b"ab") == b"ab"
    with pytest.raises(ValueError, match="shorter"):
        framing.end()
    with pytest.raises(ValueError, match="longer"):
        framing.frame(b"cd")


def test_unknown_length_is_chunked() -> None:
    """HTTP/1.1 clients get chunks and a final one."""
    framing = BodyFraming(200, None, is_head=False, is_http10=False)
    assert b"Transfer-Encoding: chunked\r\n" in framing.head(b"", (), None, close=False)
    assert framing.frame(b"0123456789abcdef") + framing.end() == b"10\r\n0123456789abcdef\r\n0\r\n\r\n"


def test_http10_knows_no_chunks() -> None:
    """There the end of the connection is the end."""
    framing = BodyFraming(200, None, is_head=False, is_http10=True)
    assert b"hunked" not in framing.head(b"", (), None, close=True)
    assert framing.frame(b"ab") + framing.end() == b"ab"


def test_answers_without_body() -> None:
    """HEAD keeps the length it would have had; 204 and 304 have none."""
    head = BodyFraming(200, 5, is_head=True, is_http10=False)
    assert b"Content-Length: 5" in head.head(b"", (), None, close=False)
    assert not head.has_body
    assert head.end() == b""
    for status in (204, 304):
        framing = BodyFraming(status, 0, is_head=False, is_http10=False)
        assert b"Content-Length" not in framing.head(b"", (), None, close=False)
        assert not framing.has_body


def test_hijack_headers() -> None:
    """The two answers clients know, byte for byte."""
    assert hijack_head(True, "application/vnd.docker.raw-stream", ()) == (
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    assert hijack_head(False, "x/y", ()) == b"HTTP/1.1 200 OK\r\nContent-Type: x/y\r\n\r\n"

"""Bytes of answers, and the polite end of a connection.

Answers are written by hand: h11's sending half costs more than the rest of a small request, and writing has none of reading's traps
as long as no field can carry a line ending. That is checked here, on every field.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus

import trio

from docket.adapters.http.hijack import AnyStream
from docket.adapters.http.response import HeaderList

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus}
_BODYLESS = (204, 304)


def field_lines(fields: Iterable[tuple[str, str]]) -> bytes:
    """Header fields as bytes; raises ValueError for one that would break the header."""
    lines = []
    for name, value in fields:
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ValueError(f"header field {name!r} cannot be sent with the value {value!r}")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("ascii")


class BodyFraming:
    """How the body of one answer is delimited, and its bytes framed that way.

    By its length where that is known, else in chunks, and for HTTP/1.0 by the end of the connection. Answers to HEAD, 204 and 304
    have none (RFC 9112 section 6.3).
    """

    __slots__ = ("_remaining", "chunked", "has_body", "length", "status")

    def __init__(self, status: int, length: int | None, *, is_head: bool, is_http10: bool) -> None:
        self.status = status
        self.length = None if status in _BODYLESS else length
        self.has_body = not is_head and status not in _BODYLESS
        self.chunked = length is None and not is_http10 and status not in _BODYLESS
        self._remaining = length

    def head(self, common: bytes, headers: HeaderList, content_type: str | None, close: bool) -> bytes:
        """The status line and header; `common` holds ready lines. Raises ValueError."""
        fields = list(headers)
        if content_type is not None:
            fields.append(("Content-Type", content_type))
        data = (_STATUS_LINES.get(self.status) or b"HTTP/1.1 %d Unknown\r\n" % self.status) + common + field_lines(fields)
        if self.length is not None:
            data += b"Content-Length: %d\r\n" % self.length
        elif self.chunked:
            data += b"Transfer-Encoding: chunked\r\n"
        return data + (b"Connection: close\r\n\r\n" if close else b"\r\n")

    def frame(self, data: bytes) -> bytes:
        """One piece of the body; raises ValueError past the announced length."""
        if self._remaining is not None:
            if len(data) > self._remaining:
                raise ValueError(f"body is longer than the {self.length} bytes announced")
            self._remaining -= len(data)
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data

    def end(self) -> bytes:
        """What ends the body; raises ValueError before the announced length."""
        if self.has_body and self._remaining:
            raise ValueError(f"body is {self._remaining} bytes shorter than the {self.length} announced")
        return b"0\r\n\r\n" if self.has_body and self.chunked else b""


def hijack_head(upgrade: bool, content_type: str, headers: HeaderList) -> bytes:
    """The header after which a connection is raw: 101 for clients that asked for it, else 200 until the connection's end."""
    fields = [("Content-Type", content_type), *headers]
    if upgrade:
        fields += [("Connection", "Upgrade"), ("Upgrade", "tcp")]
    return (b"HTTP/1.1 101 UPGRADED\r\n" if upgrade else b"HTTP/1.1 200 OK\r\n") + field_lines(fields) + b"\r\n"


async def linger(stream: AnyStream, seconds: float) -> None:
    """Send the end of our data, then drop what still comes until the client closes too, or `seconds` have passed."""
    try:
        with trio.move_on_after(seconds):
            if isinstance(stream, trio.SocketStream):
                await stream.send_eof()
                while await stream.receive_some(65536):
                    pass
            else:
                await stream.unwrap()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # The client went first, which is what we were waiting for.

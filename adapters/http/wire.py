"""Bytes of answers, and the polite end of a connection."""

import re
from http import HTTPStatus

import h11
import trio

from docket.adapters.http.hijack import AnyStream
from docket.adapters.http.response import HeaderList

_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def encode_head(
    connection: h11.Connection, status: int, headers: HeaderList, content_type: str | None, length: int | None, close: bool
) -> bytes:
    """The header of an answer; without a length h11 picks chunks or the connection's end. Raises ValueError."""
    fields = list(headers)
    if content_type is not None:
        fields.append(("Content-Type", content_type))
    if length is not None:
        fields.append(("Content-Length", str(length)))
    if close:
        fields.append(("Connection", "close"))
    try:
        event = h11.Response(status_code=status, headers=fields, reason=_REASONS.get(status, b"Unknown"))
    except h11.LocalProtocolError as error:
        raise ValueError(f"answer cannot be sent: {error}") from error
    return connection.send(event)


def hijack_head(upgrade: bool, content_type: str, headers: HeaderList) -> bytes:
    """The header after which a connection is raw: 101 for clients that asked for it, else 200 until the connection's end.

    Written by hand, since h11 would announce chunks for the 200. Raises ValueError for a field that would break the header.
    """
    fields = [("Content-Type", content_type), *headers]
    if upgrade:
        fields += [("Connection", "Upgrade"), ("Upgrade", "tcp")]
    for name, value in fields:
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ValueError(f"header field {name!r} cannot be sent with the value {value!r}")
    status = "101 UPGRADED" if upgrade else "200 OK"
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("ascii")


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

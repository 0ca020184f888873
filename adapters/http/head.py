"""Request line and header, from bytes to values, without any I/O.

h11 parses, but it is kinder than a server with root's powers should be: it takes bare line feeds, folded lines, several equal
lengths, and a length together with chunking. Each of those has been read differently by two parsers somewhere (S38), so the bytes
must first match one strict, linear expression, and the two framing fields are counted on the bytes themselves.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import h11

from docket.adapters.http.errors import MalformedRequest
from docket.adapters.http.query import is_bad_escape

HEAD_END = b"\r\n\r\n"

_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
_HEAD = re.compile(
    rb"%(t)s [\x21\x22\x24-\x7e]++ HTTP/1\.[01]\r\n(?:%(t)s:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n" % {b"t": _TOKEN}
)
_NEVER_IN_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding):[ \t]*([^\r]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Framing:
    """How the body is delimited: a length (0 for none), or chunks."""

    length: int = 0
    chunked: bool = False


_NO_BODY = Framing()


def check_unfinished(data: bytes | bytearray, start: int) -> None:
    """Raise MalformedRequest as soon as a header that is still arriving can no longer become valid."""
    if _NEVER_IN_HEAD.search(data, start) is not None:
        raise MalformedRequest("malformed request: control character or bare line ending in the header")


def parse_head(connection: h11.Connection, head: bytes, header_count: int) -> tuple[h11.Request, Framing]:
    """Parse one complete header with its blank line; raises MalformedRequest."""
    if _HEAD.fullmatch(head) is None:
        raise MalformedRequest("malformed request: request line or header field is not valid HTTP/1.1")
    if head.count(b"\r\n") - 2 > header_count:
        raise MalformedRequest(f"request has more than {header_count} header fields", 431)
    framing = _framing(head)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise MalformedRequest(f"malformed request: {error}") from None
    if not isinstance(event, h11.Request):
        raise MalformedRequest("malformed request: header is incomplete")
    if framing.chunked and event.http_version != b"1.1":
        raise MalformedRequest("malformed request: chunked body in HTTP/1.0")
    return event, framing


def _framing(head: bytes) -> Framing:
    """At most one of the two fields, once, in its plainest form."""
    fields = _FRAMING.findall(head)
    if not fields:
        return _NO_BODY
    if len(fields) > 1:
        raise MalformedRequest("malformed request: more than one Content-Length or Transfer-Encoding")
    name, value = fields[0][0].lower(), fields[0][1].rstrip(b" \t")
    if name == b"transfer-encoding":
        if value.lower() != b"chunked":
            raise MalformedRequest("malformed request: only the transfer encoding 'chunked' is known")
        return Framing(chunked=True)
    if _LENGTH.fullmatch(value) is None:
        raise MalformedRequest("malformed request: Content-Length is not a number")
    return Framing(length=int(value))


def header_dict(request: h11.Request) -> dict[str, str]:
    """Fields by lower-case name, repeated ones joined as RFC 9110 section 5.3 allows."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def split_target(target: str) -> tuple[str, str]:
    """The decoded path and the raw query string of an origin-form target; raises MalformedRequest."""
    path, _, query_string = target.partition("?")
    if not path.startswith("/"):
        raise MalformedRequest("malformed request: the target must be a path that starts with a slash")
    if "%" not in path:
        return path, query_string
    if is_bad_escape(path):
        raise MalformedRequest("malformed request: percent sign without two hexadecimal digits in the path")
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRequest("malformed request: path is not UTF-8") from None
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in decoded):
        raise MalformedRequest("malformed request: control character in the path")
    return decoded, query_string

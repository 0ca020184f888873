"""Request line and header, from bytes to values, without any I/O.

One strict, linear expression says what a header is. It takes none of what h11 and others are kind about: bare line feeds, folded
lines, blanks before a colon, several equal lengths, a length together with chunking. Each of those has been read differently by two
parsers somewhere (S38). What the expression accepts can be split without further thought; a test compares every accepted header
with h11's reading of it. (h11 itself would cost a third of a small request here; chunked bodies do go through it.)
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

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


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed header: field names in lower case, repeated fields joined (RFC 9110 section 5.3), values as Latin-1 text."""

    method: str
    target: str
    is_http10: bool
    headers: dict[str, str]
    framing: Framing

    def has_option(self, name: str, option: str) -> bool:
        """Whether a field with a list of options, such as Connection, holds this one."""
        value = self.headers.get(name)
        return value is not None and option in (item.strip(" \t").lower() for item in value.split(","))


def check_unfinished(data: bytes | bytearray, start: int) -> None:
    """Raise MalformedRequest as soon as a header that is still arriving can no longer become valid."""
    if _NEVER_IN_HEAD.search(data, start) is not None:
        raise MalformedRequest("malformed request: control character or bare line ending in the header")


def parse_head(head: bytes, header_count: int) -> Head:
    """Parse one complete header with its blank line; raises MalformedRequest."""
    if _HEAD.fullmatch(head) is None:
        raise MalformedRequest("malformed request: request line or header field is not valid HTTP/1.1")
    request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    if len(lines) > header_count:
        raise MalformedRequest(f"request has more than {header_count} header fields", 431)
    method, target, version = request_line.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, _, value = line.partition(":")
        name, value = raw_name.lower(), value.strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name == "host":
            raise MalformedRequest("malformed request: more than one Host")
        else:
            headers[name] = f"{headers[name]}, {value}"
    is_http10 = version == "HTTP/1.0"
    if "host" not in headers and not is_http10:
        raise MalformedRequest("malformed request: HTTP/1.1 needs a Host")
    framing = _framing(head)
    if framing.chunked and is_http10:
        raise MalformedRequest("malformed request: chunked body in HTTP/1.0")
    return Head(method, target, is_http10, headers, framing)


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

"""What can be wrong with a request, as exceptions that carry their HTTP status.

HttpError is answered as {"message": …} and leaves the connection usable. MalformedRequest (400, 408 or 431) is one after which
the framing cannot be trusted any more, so the connection is closed after the answer. ListenError has no client to go to.
"""

from collections.abc import Sequence


class HttpError(Exception):
    """A request that is answered with an error status; `message` is what the client reads."""

    def __init__(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = tuple(headers)


class MalformedRequest(HttpError):
    """Bytes that are not an HTTP/1.1 request we are willing to understand (S38)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(status, message)


class ListenError(Exception):
    """An address that cannot be listened on; the message is a sentence for the person who gave it."""

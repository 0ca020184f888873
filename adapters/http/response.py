"""What a handler answers: a `Response` with its whole body, or a `Stream` that is written as it happens."""

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

HeaderList = Sequence[tuple[str, str]]

JSON = "application/json"


@dataclass(slots=True)
class Response:
    """A complete answer. `content_type` None sends no Content-Type; the length is always sent where a body may be."""

    status: int = 200
    body: bytes = b""
    headers: HeaderList = ()
    content_type: str | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: HeaderList = ()) -> "Response":
        """A value that msgspec can encode, Structs included, with the newline that Docker sends too."""
        return cls(status, msgspec.json.encode(value) + b"\n", headers, JSON)

    @classmethod
    def text(cls, text: str, status: int = 200, headers: HeaderList = ()) -> "Response":
        """Plain text in UTF-8 (`/_ping`)."""
        return cls(status, text.encode("utf-8", "backslashreplace"), headers, "text/plain; charset=utf-8")

    @classmethod
    def error(cls, status: int, message: str, headers: HeaderList = ()) -> "Response":
        """The shape in which Docker's clients look for an error."""
        return cls.json({"message": message.encode("utf-8", "backslashreplace").decode()}, status, headers)

    @classmethod
    def empty(cls, status: int = 204, headers: HeaderList = ()) -> "Response":
        """An answer without a body: 204, 304, or a 200 that says it all."""
        return cls(status, b"", headers)


class StreamSender(Protocol):
    """The writing end of a `Stream`."""

    async def send(self, data: bytes) -> None:
        """Send one chunk at once; nothing for empty data. Tasks may call it side by side, chunks stay whole.

        Raises trio.BrokenResourceError when the client is gone, or when an earlier send was cancelled half-way.
        """
        ...


StreamWriter = Callable[[StreamSender], Awaitable[None]]


@dataclass(slots=True)
class Stream:
    """An answer that is written bit by bit, in chunks unless its `length` is known.

    The header goes out before `write` starts; see the package's docstring for how it ends.
    """

    write: StreamWriter
    status: int = 200
    headers: HeaderList = ()
    content_type: str | None = JSON
    endless: bool = False
    length: int | None = None

    @classmethod
    def of(
        cls,
        chunks: AsyncIterable[bytes],
        status: int = 200,
        headers: HeaderList = (),
        content_type: str | None = JSON,
        endless: bool = False,
    ) -> "Stream":
        """Send each item of `chunks`."""

        async def write(out: StreamSender) -> None:
            async for chunk in chunks:
                await out.send(chunk)

        return cls(write, status, headers, content_type, endless)


Answer = Response | Stream | None
"""None only after `request.hijack()`."""

"""A request as its handler sees it. Reading its body and taking over its connection are delegated to the connection."""

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any, Protocol

from docket.adapters.http import json_body
from docket.adapters.http.errors import HttpError
from docket.adapters.http.hijack import Hijacked
from docket.adapters.http.peer import Peer
from docket.adapters.http.query import Query
from docket.adapters.http.response import HeaderList


class RequestSource(Protocol):
    """What a request needs from the connection it came on."""

    async def read_body(self, limit: int | None) -> bytes:
        """All that is left of the body; raises HttpError 413."""
        ...

    def body_chunks(self) -> AsyncIterator[bytes]:
        """What is left of the body, piece by piece."""
        ...

    async def hijack(self, upgrade: bool, content_type: str, headers: HeaderList) -> Hijacked:
        """Send the header and give up HTTP."""
        ...


class Request:
    """One request; the package's docstring lists its attributes."""

    def __init__(
        self,
        source: RequestSource,
        *,
        method: str,
        target: str,
        path: str,
        query_string: str,
        headers: dict[str, str],
        peer: Peer,
    ) -> None:
        self._source = source
        self._body: bytes | None = None
        self.method = method
        self.target = target
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.peer = peer
        self.parameters: dict[str, str] = {}
        self.api_version: tuple[int, int] = (0, 0)
        self.hijacked: Hijacked | None = None

    @cached_property
    def query(self) -> Query:
        """The query parameters; raises HttpError 400."""
        return Query.parse(self.query_string)

    @property
    def wants_upgrade(self) -> bool:
        """Whether the client asks for the connection to become a raw TCP-like one."""
        options = [option.strip(" \t").lower() for option in self.headers.get("connection", "").split(",")]
        return "upgrade" in options and self.headers.get("upgrade", "").lower() == "tcp"

    async def body(self, limit: int | None = None) -> bytes:
        """The whole body, read once and kept; raises HttpError 413 above `limit` bytes."""
        if self._body is None:
            self._body = await self._source.read_body(limit)
        if limit is not None and len(self._body) > limit:
            raise body_too_large(limit)
        return self._body

    def body_stream(self) -> AsyncIterator[bytes]:
        """The body piece by piece, for uploads; raises MalformedRequest where it is cut short. Iterate it once."""
        return self._source.body_chunks() if self._body is None else _once(self._body)

    async def json(self, limit: int | None = None, optional: bool = False) -> Any:
        """The body as strict JSON; raises HttpError 400 or 413.

        An empty body is None when `optional`. On TCP the content type must be `application/json` (S44): a browser cannot send that
        to another site without asking first.
        """
        body = await self.body(limit)
        if not body.strip():
            if optional:
                return None
            raise HttpError(400, "request body is empty: send a JSON value")
        if self.peer.transport != "unix":
            self._require_json_type()
        return json_body.decode(body)

    def _require_json_type(self) -> None:
        content_type = self.headers.get("content-type", "")
        if content_type.partition(";")[0].strip(" \t").lower() != "application/json":
            raise HttpError(400, f"unsupported Content-Type header ({content_type}): must be 'application/json'")

    async def hijack(self, content_type: str, headers: HeaderList = ()) -> Hijacked:
        """Send `101 UPGRADED` or `200 OK` and take the connection over; the body must have been read."""
        if self.hijacked is not None:
            raise RuntimeError("the connection has been hijacked before")
        self.hijacked = await self._source.hijack(self.wants_upgrade, content_type, headers)
        return self.hijacked


def body_too_large(limit: int) -> HttpError:
    """The 413 that names the cap."""
    return HttpError(413, f"request body is longer than the {limit} bytes allowed here")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body

"""A blob on its way out: an upload is begun, filled with chunks, and closed with the digest.

A chunk that was cut is not sent again blindly: the registry is asked how far it came, and the upload goes on there. An upload that
the registry knows no more is begun anew.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from docket.adapters.registry.client import Answer, Cut
from docket.adapters.registry.exchange import Exchange
from docket.adapters.registry.urls import Url
from docket.domain.oci.descriptor import Descriptor
from docket.domain.registry import Content, RegistryError

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")
_OCTETS = "application/octet-stream"
_RESTARTS = 3


class Upload:
    """One blob's upload into the repository at ``path``."""

    def __init__(self, exchange: Exchange, path: str, scope: str, blob: Descriptor, content: Content) -> None:
        self._exchange = exchange
        self._path = path
        self._scope = scope
        self._blob = blob
        self._content = content
        self._offset = 0
        self._restarts = 0

    async def run(self) -> None:
        """Returns when the registry has the blob. Raises `RegistryError`."""
        location = await self._begin()
        tries = 0
        while self._offset < self._blob.size:
            before = self._offset
            try:
                location = await self._send_chunk(location)
                tries = 0
            except Cut:
                tries += 1
                if tries >= self._exchange.limits.attempts:
                    raise
                await self._exchange.pause(tries)
                location = await self._resumed(location)
                if self._offset > before:
                    tries = 0
        await self._close(location)

    async def _begin(self) -> Url:
        url = self._exchange.endpoint.to(f"{self._path}/blobs/uploads/")
        async with await self._exchange.send("POST", url, self._scope, expected=(202,)) as answer:
            self._offset = 0
            return self._location(answer)

    def _location(self, answer: Answer) -> Url:
        return self._exchange.pointed_to(answer.url, answer.headers.get("location", ""))

    async def _send_chunk(self, location: Url) -> Url:
        start = self._offset
        end = min(start + self._exchange.limits.chunk_bytes, self._blob.size)
        headers = {"Content-Type": _OCTETS, "Content-Length": str(end - start), "Content-Range": f"{start}-{end - 1}"}
        answer = await self._exchange.send(
            "PATCH", location, self._scope, headers, lambda: self._chunk(start, end), expected=(202, 204), retry=False
        )
        async with answer:
            self._offset = self._reached(answer, end)
            return self._location(answer)

    async def _chunk(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        left = end - start
        async with aclosing(self._content(start)) as pieces:
            async for piece in pieces:
                piece = piece[:left]
                left -= len(piece)
                yield piece
                if not left:
                    return

    def _reached(self, answer: Answer, otherwise: int) -> int:
        """How much the registry has, as it says; ``0-0`` stands for nothing as well as for one byte, so nothing is meant."""
        match = _RANGE.fullmatch(answer.headers.get("range", ""))
        if match is None:
            return otherwise
        reached = int(match[1]) + 1 if int(match[1]) else 0
        if reached > self._blob.size:
            raise RegistryError(
                f"blob {self._blob.digest}: the registry says it has {reached} of {self._blob.size} bytes", "invalid"
            )
        return reached if reached or otherwise != 1 else 1

    async def _resumed(self, location: Url) -> Url:
        try:
            async with await self._exchange.send("GET", location, self._scope, expected=(204, 202)) as answer:
                self._offset = self._reached(answer, 0)
                return self._location(answer) if answer.headers.get("location") else location
        except RegistryError as error:
            if error.kind != "not found" or self._restarts >= _RESTARTS:
                raise
        self._restarts += 1
        return await self._begin()

    async def _close(self, location: Url) -> None:
        separator = "&" if "?" in location.target else "?"
        digest = str(self._blob.digest).replace(":", "%3A")
        url = msgspec.structs.replace(location, target=f"{location.target}{separator}digest={digest}")
        async with await self._exchange.send("PUT", url, self._scope, {"Content-Type": _OCTETS}, expected=(201, 204)):
            return

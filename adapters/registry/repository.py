"""One repository. The first manifest that is asked for decides which of the domain's endpoints it is on; all else goes there.

An endpoint that cannot be reached leads to the next one, as with dockerd; a mirror that does not have the image, or refuses it,
does so too. So does a mirror that fails later on: what it has sent of a blob stays, and the next endpoint sends the rest, which is
the same by its digest. Mirrors never see the credentials: those are the registry's (S27).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from docket.adapters.registry.addresses import Trusted
from docket.adapters.registry.client import HttpClient, Unreachable
from docket.adapters.registry.download import download
from docket.adapters.registry.endpoints import Endpoint
from docket.adapters.registry.exchange import Exchange
from docket.adapters.registry.failures import shown
from docket.adapters.registry.upload import Upload
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import Digest, digest_of
from docket.domain.oci.manifest import INDEX_TYPES, MANIFEST_TYPES
from docket.domain.oci.reference import Reference
from docket.domain.oci.strict_json import MAX_DOCUMENT_BYTES
from docket.domain.registry import NOBODY, Content, Credentials, RegistryError, RemoteManifest

_ACCEPT = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class RemoteRepository:
    """Implements `docket.domain.registry.Repository`."""

    def __init__(
        self,
        client: HttpClient,
        endpoints: tuple[Endpoint, ...],
        reference: Reference,
        credentials: Credentials,
        trusted: Trusted,
        *,
        push: bool,
    ) -> None:
        self._client = client
        self._endpoints = endpoints
        self._credentials = credentials
        self._trusted = trusted
        self._name = reference.path
        self._path = f"/v2/{reference.path}"
        self._actions = "pull,push" if push else "pull"
        self._exchange: Exchange | None = None

    def _scope(self, *others: str) -> str:
        own = f"repository:{self._name}:{self._actions}"
        return " ".join((own, *(f"repository:{other}:pull" for other in others)))

    async def manifest(self, reference: str, *, digest: Digest | None = None) -> RemoteManifest:
        """See the port."""
        failure: RegistryError | None = None
        for endpoint in self._endpoints:
            exchange = self._exchange or self._on(endpoint)
            try:
                found = await self._manifest(exchange, reference, digest)
            except RegistryError as error:
                failure = error
                if self._leave(exchange) or (self._exchange is None and isinstance(error, Unreachable)):
                    continue
                raise
            self._settle(exchange)
            return found
        raise failure or RegistryError(f"{self._name}: no endpoint")

    def _settle(self, exchange: Exchange) -> None:
        """All else goes there, and nothing to the endpoints before it any more."""
        if self._exchange is None:
            self._endpoints = self._endpoints[self._endpoints.index(exchange.endpoint) :]
            self._exchange = exchange

    def _leave(self, exchange: Exchange) -> bool:
        """Whether another endpoint is to be asked instead: of a mirror, the next one, to which all else goes from now on."""
        if exchange.endpoint not in self._endpoints:
            return True  # another download has left it already
        rest = self._endpoints[self._endpoints.index(exchange.endpoint) + 1 :]
        if not exchange.endpoint.mirror or not rest:
            return False
        self._endpoints, self._exchange = rest, None
        return True

    def _on(self, endpoint: Endpoint) -> Exchange:
        return Exchange(self._client, endpoint, NOBODY if endpoint.mirror else self._credentials, self._trusted)

    async def _manifest(self, exchange: Exchange, reference: str, digest: Digest | None) -> RemoteManifest:
        url = exchange.endpoint.to(f"{self._path}/manifests/{reference}")
        async with await exchange.send("GET", url, self._scope(), {"Accept": _ACCEPT}) as answer:
            data = await answer.body(MAX_DOCUMENT_BYTES)
            media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        found = digest_of(data)
        if digest is not None and found != digest:
            raise RegistryError(f"manifest verification failed for digest {digest}", "invalid")
        return RemoteManifest(shown(media_type), found, data)

    async def _ready(self) -> Exchange:
        """The endpoint to work with: the first one that answers at all."""
        failure: RegistryError | None = None
        for endpoint in () if self._exchange else self._endpoints:
            exchange = self._on(endpoint)
            try:
                async with await exchange.send("GET", endpoint.to("/v2/"), self._scope()):
                    self._settle(exchange)
                    break
            except RegistryError as error:
                failure = error
                if not (endpoint.mirror or isinstance(error, Unreachable)):
                    raise
        if self._exchange is None:
            raise failure or RegistryError(f"{self._name}: no endpoint")
        return self._exchange

    async def blob(self, blob: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """See the port."""
        position = offset
        while True:
            exchange = await self._ready()
            try:
                async with aclosing(download(exchange, self._path, self._scope(), blob, position)) as chunks:
                    async for chunk in chunks:
                        position += len(chunk)
                        yield chunk
                return
            except RegistryError:
                if not self._leave(exchange):
                    raise

    async def tags(self) -> tuple[str, ...]:
        """See the port."""
        exchange = await self._ready()
        url = exchange.endpoint.to(f"{self._path}/tags/list")
        async with await exchange.send("GET", url, self._scope()) as answer:
            data = await answer.body(MAX_DOCUMENT_BYTES)
        try:
            return tuple(msgspec.json.decode(data, type=_Tags).tags or ())
        except ValueError as error:
            raise RegistryError(f"{url.shown}: the list of tags cannot be read", "invalid") from error

    async def has_blob(self, digest: Digest) -> bool:
        """See the port."""
        exchange = await self._ready()
        url = exchange.endpoint.to(f"{self._path}/blobs/{digest}")
        async with await exchange.send("HEAD", url, self._scope(), expected=(200, 404)) as answer:
            return answer.status == 200

    async def mount(self, digest: Digest, source: str) -> bool:
        """See the port."""
        exchange = await self._ready()
        target = f"{self._path}/blobs/uploads/?mount={digest.replace(':', '%3A')}&from={source.replace('/', '%2F')}"
        try:
            answer = await exchange.send("POST", exchange.endpoint.to(target), self._scope(source), expected=(201, 202))
        except RegistryError as error:
            if error.kind in {"denied", "unauthorized", "not found"}:
                return False
            raise
        async with answer:
            if answer.status == 202:
                await self._abandon(exchange, answer.headers.get("location", ""))
            return answer.status == 201

    async def _abandon(self, exchange: Exchange, location: str) -> None:
        """An upload that a registry began instead of mounting; it need not listen."""
        try:
            url = exchange.pointed_to(exchange.endpoint.url, location)
            async with await exchange.send("DELETE", url, self._scope(), expected=(204, 202, 200), retry=False):
                return
        except RegistryError:
            return  # it forgets the upload by itself some day

    async def upload(self, blob: Descriptor, content: Content) -> None:
        """See the port."""
        await Upload(await self._ready(), self._path, self._scope(), blob, content).run()

    async def put_manifest(self, tag: str, media_type: str, data: bytes) -> Digest:
        """See the port."""
        exchange = await self._ready()
        url = exchange.endpoint.to(f"{self._path}/manifests/{tag}")
        async with await exchange.send("PUT", url, self._scope(), {"Content-Type": media_type}, data, expected=(201, 200, 202)):
            return digest_of(data)

"""The role of a registry, and the values that cross it.

A registry is somebody else's machine: everything that it answers is checked before it is used. Secrets live in `Credentials` only,
which no event, job or line for the operator ever holds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from docket.domain.errors import PortError
from docket.domain.model.engine.settings import EngineSettings
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import Digest
from docket.domain.oci.reference import Reference


class RegistryError(PortError):
    """A registry could not be asked, or refused. ``kind`` says what that means for who asked:

    ``not found``, ``unauthorized``, ``login refused``, ``denied``, ``invalid`` (it answered what cannot be right), or ``failed``.
    """

    def __init__(self, message: str, kind: str = "failed") -> None:
        super().__init__(message)
        self.kind = kind


class Credentials(msgspec.Struct, frozen=True):
    """Who asks a registry. All empty is nobody. Never part of an event or of a line for people."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """What a login got in exchange for a password; the token service takes it instead of one."""
    registry_token: str = ""
    """A bearer token that is sent as it is."""
    server_address: str = ""

    def __repr__(self) -> str:
        return f"Credentials({'somebody' if self else 'nobody'})"

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)


NOBODY = Credentials()

Content = Callable[[int], AsyncGenerator[bytes, None]]
"""The bytes of a blob from an offset on."""


class RemoteManifest(msgspec.Struct, frozen=True):
    """A manifest or an index as it arrived. ``digest`` is that of ``data``."""

    media_type: str
    digest: Digest
    data: bytes


class Found(msgspec.Struct, frozen=True):
    """One answer to a search."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


class Repository(Protocol):
    """One repository of a registry, for as long as a job needs it."""

    async def manifest(self, reference: str, *, digest: Digest | None = None) -> RemoteManifest:
        """The manifest or index that a tag or digest means; ``digest`` is what it must have. Raises `RegistryError`."""
        ...

    def blob(self, blob: Descriptor, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The blob's bytes from ``offset`` on, never more than its size; a cut download goes on where it was.

        Raises `RegistryError`. Whoever reads it compares the digest.
        """
        ...

    async def tags(self) -> tuple[str, ...]:
        """The tags that the repository has, as far as it tells. Raises `RegistryError`."""
        ...

    async def has_blob(self, digest: Digest) -> bool: ...

    async def mount(self, digest: Digest, source: str) -> bool:
        """Have the registry take over a blob of its repository ``source``; False when it would not."""
        ...

    async def upload(self, blob: Descriptor, content: Content) -> None:
        """Send a blob; ``content`` gives its bytes from an offset on."""
        ...

    async def put_manifest(self, tag: str, media_type: str, data: bytes) -> Digest: ...


class Registry(Protocol):
    """All registries. ``settings`` say which may be spoken to without TLS, and which mirrors Docker Hub has."""

    def open(
        self, reference: Reference, credentials: Credentials, settings: EngineSettings, *, push: bool = False
    ) -> AbstractAsyncContextManager[Repository]:
        """The reference's repository; the first request decides which endpoint it is on."""
        ...

    async def login(self, credentials: Credentials, settings: EngineSettings) -> str:
        """Check credentials; returns the identity token that stands for them from now on, if there is one."""
        ...

    async def search(self, term: str, limit: int, credentials: Credentials, settings: EngineSettings) -> tuple[Found, ...]: ...


class _NoRegistry:
    """Where no registry can be asked: in a replay, and in tests that have none."""

    def open(
        self, reference: Reference, credentials: Credentials, settings: EngineSettings, *, push: bool = False
    ) -> AbstractAsyncContextManager[Repository]:
        raise RegistryError(_NONE)

    async def login(self, credentials: Credentials, settings: EngineSettings) -> str:
        raise RegistryError(_NONE)

    async def search(self, term: str, limit: int, credentials: Credentials, settings: EngineSettings) -> tuple[Found, ...]:
        raise RegistryError(_NONE)


_NONE = "no registry can be asked here"
NO_REGISTRY: Registry = _NoRegistry()

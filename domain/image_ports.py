"""Images on disk: the role of whoever keeps them, and the values that cross it. Reached through `docket.domain.ports`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from docket.domain.layer_commit import LayerCommit
from docket.domain.model.image.events import ImageImported
from docket.domain.oci.digest import Digest
from docket.domain.oci.stack import StackedLayer


class StoredImage(msgspec.Struct, frozen=True):
    """What an image needs on disk: its manifest with all that this names, and its unpacked layers, lowest first."""

    image: str
    manifest: str
    manifest_type: str
    diff_ids: tuple[str, ...]


class Ingest(Protocol):
    """Takes images in, layer by layer. All of it, up to the event, is done within the engine's custody."""

    def has_layer(self, layer: StackedLayer) -> bool:
        """Whether nothing is left to do for the layer."""
        ...

    async def fetch_layer(
        self, layer: StackedLayer, open_from: Callable[[int], AsyncIterator[bytes]], progress: Callable[[int], None] = ...
    ) -> None:
        """Returns when the layer is whole, checked and durable; ``open_from(offset)`` gives the bytes that are missing.

        Raises `DigestMismatch` and other `PortError` for wrong bytes and the disk, and what ``open_from`` raises.
        """
        ...

    async def finish(self, manifest: bytes, media_type: str, config: bytes, *, origin: str, source: str = "") -> ImageImported:
        """Store the documents of an image whose layers are all there. Raises `InvalidDocument`, `DigestMismatch`."""
        ...


class SavedImage(msgspec.Struct, frozen=True):
    """An image to be put into an archive, with the (normalised) names that it has there."""

    stored: StoredImage
    references: tuple[str, ...]


class LoadedImage(msgspec.Struct, frozen=True):
    """An image that came out of an archive, with the (normalised) names that it had there."""

    imported: ImageImported
    references: tuple[str, ...]


class Swept(msgspec.Struct, frozen=True):
    """How much was deleted because nobody needed it: blobs and layers, and the bytes of both."""

    blobs: int = 0
    layers: int = 0
    reclaimed_bytes: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Bytes on disk: of unpacked layers by chain id, of directories by path."""

    layers: dict[str, int] = {}
    directories: dict[str, int] = {}


class Images(Protocol):
    """Images on disk. What these return is whole and durable, and known to nobody until its event is in the log."""

    async def import_archive(
        self, chunks: AsyncIterator[bytes], changes: Sequence[str], message: str, source: str
    ) -> ImageImported:
        """Make an image of one layer from a tar archive. Raises `Rejected` for a wrong archive or change."""
        ...

    @property
    def ingest(self) -> Ingest:
        """Where images of many layers come in."""
        ...

    async def document(self, digest: Digest) -> bytes:
        """A manifest or config, verified. Raises `PortError`."""
        ...

    def blob(self, digest: Digest, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """A blob's bytes. Raises `PortError`."""
        ...

    def save(self, images: Sequence[SavedImage]) -> AsyncGenerator[bytes, None]:
        """An archive of the images. Raises `PortError` where a blob is damaged or missing."""
        ...

    async def load(self, chunks: AsyncIterator[bytes], progress: Callable[[str, int, int], None]) -> list[LoadedImage]:
        """Take all images of an archive. ``progress`` hears ``(diff id, bytes, of bytes)``. Raises `Rejected`, `PortError`."""
        ...

    async def sweep(self, images: Sequence[StoredImage], stacks: Sequence[tuple[str, ...]], partials: bool) -> Swept:
        """Delete all blobs and layers but those of ``images`` and the layers of ``stacks`` of diff ids.

        With ``partials`` also the beginnings of blobs that interrupted pulls left. Nobody may bring an image meanwhile.
        """
        ...

    async def import_base(self) -> tuple[str, ImageImported]:
        """Assemble the embedded image; ``(reference, image)``."""
        ...

    async def commit(self, commit: LayerCommit) -> ImageImported:
        """Make an image of the parent's layers and the writable layer. Raises `PortError`, `Rejected`."""
        ...

"""The names in the content store's ``index.json``, for skopeo and umoci that read the store directly.

docket itself asks the log. The file is a projection of it, written anew when names have changed, and at each start.
"""

from __future__ import annotations

import trio

from docket.adapters.images.content_store import ContentStore
from docket.domain.engine import Engine
from docket.domain.errors import PortError
from docket.domain.log import StoredEvent
from docket.domain.model.image.events import ImageEvent
from docket.domain.oci.descriptor import Descriptor
from docket.domain.oci.digest import parse_digest
from docket.domain.oci.reference import parse_reference


class LayoutIndex:
    """Keeps ``index.json`` in step with the engine's tags, by their familiar names. ``run`` must run as long as the engine does."""

    def __init__(self, engine: Engine, store: ContentStore) -> None:
        self._engine = engine
        self._store = store
        self._written: dict[str, Descriptor] | None = None

    async def run(self) -> None:
        """Writes the file now, and after each change of a name. A disk that refuses is reported, and asked again at the next."""
        while True:
            with self._engine.subscribe() as events:
                await self._write()
                async for stored in events:
                    if isinstance(stored.event, ImageEvent):
                        _skip(events)
                        await self._write()

    async def _write(self) -> None:
        wanted = {
            parse_reference(reference).familiar: (image.manifest, image.manifest_type)
            for image in self._engine.state.images.values()
            for reference in image.references
        }
        try:
            self._written = await trio.to_thread.run_sync(self._replace, wanted)
        except PortError as error:
            self._engine.ports.report("warning", "index.json of the content store could not be written", error=error)

    def _replace(self, wanted: dict[str, tuple[str, str]]) -> dict[str, Descriptor]:
        names = {}
        for name, (manifest, media_type) in wanted.items():
            digest = parse_digest(manifest)
            if self._store.has(digest):
                names[name] = Descriptor(media_type, digest, self._store.size(digest))
        if names != self._written:
            self._store.set_references(names)
        return names


def _skip(events: trio.MemoryReceiveChannel[StoredEvent]) -> None:
    """What has come meanwhile is in the state already."""
    try:
        while True:
            events.receive_nowait()
    except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
        return

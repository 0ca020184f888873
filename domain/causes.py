"""Why an image or a container is there: its causes, followed backwards through the log to the first job.

    image      ← the pull, load or import that brought it, or the container that it was committed from
    its names  ← the jobs that gave them
    its layers ← the pull that fetched each, or the job that brought the first image with it
    container  ← the job that created it, and the image that it was created from; the last start

Only the log is read, so what was removed long ago still has its reasons. Where the log was cut off (`EventStore.floor`) the chain
ends with a cause that says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from docket.domain.event_store_port import EventStore
from docket.domain.log import StoredEvent
from docket.domain.model.image import events as images
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import parse_digest

_BROUGHT = {"pull": "pulled", "load": "loaded from an archive", "commit": "committed from a container"}


class Cause(msgspec.Struct, frozen=True):
    """One step backwards. ``object`` is an event stream such as ``image-<hex>``, ``part`` a name, layer or run of it."""

    object: str
    part: str
    why: str
    leads_to: str = ""
    """The object whose causes come further down."""
    position: int = 0
    time_ns: int = 0
    job: str = ""
    job_name: str = ""
    arguments: tuple[str, ...] = ()
    actor: str = ""
    """Who asked for the job."""


def causes(store: EventStore, stream: str) -> list[Cause]:
    """The causes of ``image-<hex>`` or ``container-<id>``, newest object first. Blocking; reads durable events."""
    found: list[Cause] = []
    waiting, seen = [(stream, store.head())], {stream}
    for each, upto in waiting:
        # Names and layers are told of what was asked for; of what lies behind it, how it came to be.
        steps = list(_of_image(store, each, upto, not found) if each.startswith("image-") else _of_container(store, each, upto))
        found += steps
        for step in steps:
            if step.leads_to and step.leads_to not in seen:
                seen.add(step.leads_to)
                waiting.append((step.leads_to, step.position))
    return found


def image_ever(store: EventStore, reference: str, digits: str) -> str:
    """The stream of the last image in the log that ``reference`` meant, or whose id begins with ``digits``; empty without one."""
    last = ""
    for stored in store.read(types=("ImageImported", "ImageTagged", "ImageDigestLearned")):
        event: Any = stored.event
        if getattr(event, "reference", "") == reference or (digits and event.image.startswith(f"sha256:{digits}")):
            last = stored.stream
    return last


def _of_image(store: EventStore, stream: str, upto: int, whole: bool) -> Iterator[Cause]:
    life = list(store.read(upto=upto, stream=stream))
    if life and isinstance(life[-1].event, images.ImageRemoved):
        yield _cause(store, stream, life[-1], "", "removed")
    imported = next((each for each in reversed(life) if isinstance(each.event, images.ImageImported)), None)
    if imported is None:
        yield _forgotten(store, stream)
        return
    yield _arrival(store, imported)
    if whole:
        yield from _names(store, life)
        yield from _layers(store, imported)


def _arrival(store: EventStore, imported: StoredEvent) -> Cause:
    event: Any = imported.event
    if event.origin == "commit":
        for stored in store.read(job=imported.metadata.job, types=("ContainerCommitted",)):
            committed: Any = stored.event
            if committed.image == event.image:
                return _cause(store, imported.stream, imported, "", "committed from", stored.stream)
    return _cause(store, imported.stream, imported, "", _brought(event))


def _brought(event: images.ImageImported) -> str:
    what = {"pull": "pulled", "load": "loaded from an archive", "commit": "committed from a container"}.get(
        event.origin, "imported"
    )
    return f"{what} from {event.source}" if event.source else what


def _names(store: EventStore, life: Sequence[StoredEvent]) -> Iterator[Cause]:
    """The names that the image has at the end, each with what gave it."""
    given: dict[str, StoredEvent] = {}
    for stored in life:
        event: Any = stored.event
        if isinstance(event, images.ImageTagged | images.ImageDigestLearned):
            given[event.reference] = stored
        elif isinstance(event, images.ImageUntagged):
            given.pop(event.reference, None)
        elif isinstance(event, images.ImageRemoved):
            given.clear()
    for reference, stored in given.items():
        is_tag = isinstance(stored.event, images.ImageTagged)
        yield _cause(store, stored.stream, stored, reference, "tagged" if is_tag else "known to its registry")


def _layers(store: EventStore, imported: StoredEvent) -> Iterator[Cause]:
    """The image's layers, lowest first, each with what brought it since it was last absent."""
    event: Any = imported.event
    wanted = _chains(event)
    origins: dict[str, StoredEvent] = {}
    holders: dict[str, set[str]] = {chain: set() for chain in wanted}
    chains_of: dict[str, tuple[str, ...]] = {}
    for stored in store.read(upto=imported.position, types=("LayerFetched", "ImageImported", "ImageRemoved")):
        other: Any = stored.event
        if isinstance(other, images.ImageRemoved):
            for chain in chains_of.pop(other.image, ()):
                holders[chain].discard(other.image)
                if not holders[chain]:
                    origins.pop(chain, None)
            continue
        is_image = isinstance(other, images.ImageImported)
        chains = tuple(chain for chain in (_chains(other) if is_image else (other.chain,)) if chain in holders)
        for chain in chains:
            if not holders[chain] and (not is_image or chain not in origins):
                origins[chain] = stored
            if is_image:
                holders[chain].add(other.image)
        if is_image:
            chains_of[other.image] = chains
    for chain, diff_id in zip(wanted, event.layers, strict=True):
        yield _layer(store, f"layer {diff_id}", origins[chain], imported.stream)


def _layer(store: EventStore, part: str, origin: StoredEvent, stream: str) -> Cause:
    event: Any = origin.event
    if isinstance(event, images.ImageImported):
        own = origin.stream == stream
        return _cause(store, stream, origin, part, "came with it" if own else "came with", "" if own else origin.stream)
    return _cause(store, stream, origin, part, f"fetched as {event.digest}")


def _chains(event: images.ImageImported) -> tuple[str, ...]:
    return tuple(chain_ids([parse_digest(diff_id) for diff_id in event.layers]))


def _of_container(store: EventStore, stream: str, upto: int) -> Iterator[Cause]:
    last: dict[str, StoredEvent] = {}
    for stored in store.read(upto=upto, stream=stream, types=("ContainerCreated", "ContainerStarting", "ContainerRemoved")):
        last[type(stored.event).__name__] = stored
    if (removed := last.get("ContainerRemoved")) is not None:
        yield _cause(store, stream, removed, "", "removed")
    if (created := last.get("ContainerCreated")) is None:
        yield _forgotten(store, stream)
    else:
        event: Any = created.event
        yield _cause(
            store, stream, created, "", f"created as {event.name} from", f"image-{event.image_id.removeprefix('sha256:')}"
        )
    if (starting := last.get("ContainerStarting")) is not None:
        event = starting.event
        yield _cause(store, stream, starting, f"run {event.run}", "started")


def _cause(store: EventStore, stream: str, stored: StoredEvent, part: str, why: str, leads_to: str = "") -> Cause:
    """What the event did to the object, with the job behind it."""
    metadata = stored.metadata
    name, arguments = "", ()
    for accepted in store.read(stream=f"job-{metadata.job}", types=("JobAccepted",)) if metadata.job else ():
        event: Any = accepted.event
        name, arguments = event.name, event.arguments
    return Cause(stream, part, why, leads_to, stored.position, metadata.time_ns, metadata.job, name, arguments, metadata.actor)


def _forgotten(store: EventStore, stream: str) -> Cause:
    return Cause(stream, "", f"before the log begins: events up to {store.floor()} are no longer kept")

"""How events change an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docket.domain.model.image import events
from docket.domain.model.image.state import TRANSITIONS, Image

if TYPE_CHECKING:
    from docket.domain.model.state import EngineState


def evolve(state: EngineState, event: events.ImageEvent, time_ns: int) -> None:
    """Fold one image event into the state."""
    if isinstance(event, events.ImageImported):
        _imported(state, event, time_ns)
        return
    image = state.images.get(event.image)
    if image is None:
        return
    image.status = TRANSITIONS[image.status].get(type(event), image.status)
    if isinstance(event, events.ImageTagged):
        image.references.append(event.reference)
        image.tagged_ns = time_ns
        state.references[event.reference] = image.id
    elif isinstance(event, events.ImageDigestLearned):
        _learn(state, image, event.reference)
    elif isinstance(event, events.ImageUntagged):
        _untag(state, image, event.reference)
    elif isinstance(event, events.ImageRemoved):
        for reference in [*image.references, *image.digests]:
            _untag(state, image, reference)
        del state.images[image.id]


def _imported(state: EngineState, event: events.ImageImported, time_ns: int) -> None:
    state.images[event.image] = Image(
        event.image,
        event.manifest,
        event.layers,
        event.size,
        event.defaults,
        time_ns,
        event.architecture,
        event.operating_system,
        event.created,
        event.author,
        event.comment,
        event.source,
        variant=event.variant,
        manifest_type=event.manifest_type,
        origin=event.origin,
    )


def _learn(state: EngineState, image: Image, reference: str) -> None:
    """An index has one digest for the images of all platforms: the one that was pulled last is meant."""
    holder = state.images.get(state.references.get(reference, ""))
    if holder is not None:
        holder.digests.remove(reference)
    image.digests.append(reference)
    state.references[reference] = image.id


def _untag(state: EngineState, image: Image, reference: str) -> None:
    for names in (image.references, image.digests):
        if reference in names:
            names.remove(reference)
    if state.references.get(reference) == image.id:
        del state.references[reference]

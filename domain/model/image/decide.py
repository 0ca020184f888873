"""What becomes of a command on an image."""

from __future__ import annotations

from docket.domain.errors import Conflict, Rejection
from docket.domain.model import texts
from docket.domain.model.image import commands, events
from docket.domain.model.image.state import Image, ImageStatus
from docket.domain.model.state import EngineState
from docket.domain.oci.reference import InvalidReference, parse_reference

Decision = list[events.ImageEvent] | Rejection

_SHORT_ID = 12
_WHOLE_ID = 64


def find_image(state: EngineState, name: str) -> Image | Rejection:
    """The image that an id, a unique prefix of an id, or a reference means."""
    image = _by_id(state, name)
    shown = name
    if image is None and not _is_whole_id(name):
        try:
            reference = parse_reference(name)
        except InvalidReference as error:
            return error.rejection
        found, shown = state.references.get(str(reference)), reference.familiar
        image = state.images[found] if found is not None else None
    if image is None or image.status is not ImageStatus.PRESENT:
        return texts.no_such_image(shown)
    return image


def _is_whole_id(name: str) -> bool:
    digits = name.removeprefix("sha256:")
    return len(digits) == _WHOLE_ID and set("0123456789abcdef").issuperset(digits)


def _by_id(state: EngineState, name: str) -> Image | None:
    digits = name.removeprefix("sha256:")
    if not digits or not set("0123456789abcdef").issuperset(digits):
        return None
    full = state.images.get(f"sha256:{digits}")
    if full is not None:
        return full
    matches = [image for key, image in state.images.items() if key.startswith(f"sha256:{digits}")]
    return matches[0] if len(matches) == 1 else None


def add(state: EngineState, command: commands.AddImage) -> Decision:
    image = command.imported.image
    known = state.images.get(image)
    decided: list[events.ImageEvent] = []
    if known is None or known.status is ImageStatus.REMOVING:
        decided.append(command.imported)
    if command.reference:
        decided += _tag(state, image, command.reference)
    if command.repository_digest:
        decided += _learn(state, image, command.repository_digest)
    return decided


def tag(state: EngineState, command: commands.TagImage) -> Decision:
    image = find_image(state, command.image)
    if isinstance(image, Rejection):
        return image
    return _tag(state, image.id, command.reference)


def _tag(state: EngineState, image: str, reference: str) -> list[events.ImageEvent]:
    holder = state.references.get(reference)
    if holder == image:
        return []
    moved: list[events.ImageEvent] = [events.ImageUntagged(holder, reference)] if holder is not None else []
    return [*moved, events.ImageTagged(image, reference)]


def learn_digest(state: EngineState, command: commands.LearnDigest) -> Decision:
    image = find_image(state, command.image)
    if isinstance(image, Rejection):
        return image
    return _learn(state, image.id, command.repository_digest)


def _learn(state: EngineState, image: str, reference: str) -> list[events.ImageEvent]:
    return [] if state.references.get(reference) == image else [events.ImageDigestLearned(image, reference)]


def load(state: EngineState, command: commands.LoadImage) -> Decision:
    image = command.imported.image
    added = add(state, commands.AddImage(command.imported))
    if isinstance(added, Rejection):
        return added
    named = [event for reference in command.references for event in _tag(state, image, reference)]
    return [*added, *named, events.ImageLoaded(image)]


def prune(state: EngineState, command: commands.PruneImages) -> Decision:
    used = {container.image_id for container in state.containers.values()}
    decided: list[events.ImageEvent] = []
    for key in command.images:
        image = state.images.get(key)
        if image is None or image.status is not ImageStatus.PRESENT or key in used or (image.references and not command.tagged):
            continue
        decided += [events.ImageUntagged(key, name) for name in (*image.references, *image.digests)]
        decided.append(events.ImageRemoving(key))
    return decided


def remove(state: EngineState, command: commands.RemoveImage) -> Decision:
    image = find_image(state, command.image)
    if isinstance(image, Rejection):
        return image
    names = [*image.references, *image.digests]
    by_id = _by_id(state, command.image) is image
    if by_id and not command.force and (len(image.references) > 1 or len({_repository(name) for name in names}) > 1):
        return Conflict(
            f"conflict: unable to delete {_short(image.id)} (must be forced) - image is referenced in multiple repositories"
        )
    untagged = names if by_id else _named_with(image, str(parse_reference(command.image)))
    decided: list[events.ImageEvent] = [events.ImageUntagged(image.id, reference) for reference in untagged]
    if len(untagged) < len(names):
        return decided
    used = _users(state, image, by_id or command.force)
    if used is None:
        return [*decided, events.ImageRemoving(image.id)]
    # Forced, the names go; the image stays for as long as a container needs its layers, and is dangling from then on.
    hard = by_id and any(container.alive for container in state.containers.values() if container.image_id == image.id)
    return decided if command.force and decided and not hard else used


def _named_with(image: Image, reference: str) -> list[str]:
    """The name, and with the last tag of a repository the digests that the image is known by there."""
    repository = _repository(reference)
    left = [name for name in image.references if name != reference and _repository(name) == repository]
    if left or reference in image.digests:
        return [reference]
    return [reference, *(name for name in image.digests if _repository(name) == repository)]


def _repository(reference: str) -> str:
    return parse_reference(reference).name


def _users(state: EngineState, image: Image, by_id: bool) -> Conflict | None:
    """Why an image whose last name goes cannot be removed; a running container's image never can."""
    for container in state.containers.values():
        if container.image_id != image.id:
            continue
        what = "unable to remove repository reference" if not by_id else f"unable to delete {_short(image.id)}"
        if container.alive:
            return Conflict(
                f"conflict: {what} (cannot be forced) - image is being used by running container {_short(container.id)}"
            )
        return Conflict(f"conflict: {what} (must be forced) - image is being used by stopped container {_short(container.id)}")
    return None


def _short(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:_SHORT_ID]

"""Images: given what is there, when a command comes, then these events or this refusal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from docket.domain.errors import Conflict, NotFound, Rejection
from docket.domain.log import Event
from docket.domain.model.container.events import ContainerCreated
from docket.domain.model.container.spec import ContainerSpec
from docket.domain.model.decide import Command, decide
from docket.domain.model.image import events
from docket.domain.model.image.commands import AddImage, LearnDigest, LoadImage, PruneImages, RemoveImage
from docket.domain.model.state import EngineState, evolve

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
DIGEST = f"sha256:{'d' * 64}"
APP, NEXT, OTHER = "docker.io/library/app:1", "docker.io/library/app:2", "docker.io/library/other:1"
KNOWN = f"docker.io/library/app@{DIGEST}"


def image(name: str) -> events.ImageImported:
    return events.ImageImported(name, f"sha256:{'e' * 64}", (f"sha256:{'f' * 64}",), 10, events.ImageDefaults())


def state_of(*happened: Event) -> EngineState:
    state = EngineState()
    for position, event in enumerate(happened, 1):
        evolve(state, event, position, position)
    return state


def outcome(happened: Sequence[Event], command: Command) -> Sequence[Event] | Rejection:
    return decide(state_of(*happened), command)


def used(name: str) -> ContainerCreated:
    return ContainerCreated("c" * 64, name="user", spec=ContainerSpec(image=APP), image_id=name, layers=(f"sha256:{'f' * 64}",))


TAGGED = [image(ONE), events.ImageTagged(ONE, APP)]
PULLED = [*TAGGED, events.ImageDigestLearned(ONE, KNOWN)]
GONE = events.ImageRemoving(ONE)


def untagged(*names: str) -> list[Event]:
    return [events.ImageUntagged(ONE, name) for name in names]


@pytest.mark.parametrize(
    ("happened", "command", "decided"),
    [
        ([], AddImage(image(ONE), APP, KNOWN), PULLED),
        (PULLED, AddImage(image(ONE), APP, KNOWN), []),
        (PULLED, LearnDigest(APP, KNOWN), []),
        ([], LoadImage(image(ONE), (APP,)), [*TAGGED, events.ImageLoaded(ONE)]),
        (TAGGED, LoadImage(image(ONE), (APP,)), [events.ImageLoaded(ONE)]),
        (TAGGED, RemoveImage(APP), [*untagged(APP), GONE]),
        (PULLED, RemoveImage(APP), [*untagged(APP, KNOWN), GONE]),
        (PULLED, RemoveImage(ONE), [*untagged(APP, KNOWN), GONE]),
        (PULLED, RemoveImage(f"app@{DIGEST}"), untagged(KNOWN)),
        ([*PULLED, events.ImageTagged(ONE, NEXT)], RemoveImage(APP), untagged(APP)),
        ([*PULLED, events.ImageTagged(ONE, OTHER)], RemoveImage(APP), untagged(APP, KNOWN)),
        ([*TAGGED, events.ImageTagged(ONE, OTHER)], RemoveImage(ONE, force=True), [*untagged(APP, OTHER), GONE]),
        ([*TAGGED, used(ONE)], RemoveImage(APP, force=True), untagged(APP)),
        ([*TAGGED, used(ONE)], RemoveImage(ONE, force=True), untagged(APP)),
        (PULLED, PruneImages((ONE,)), []),
        (PULLED, PruneImages((ONE,), tagged=True), [*untagged(APP, KNOWN), GONE]),
        ([*PULLED, *untagged(APP)], PruneImages((ONE,)), [*untagged(KNOWN), GONE]),
        ([image(ONE), image(TWO)], PruneImages((ONE,)), [GONE]),
        ([*TAGGED, used(ONE)], PruneImages((ONE,), tagged=True), []),
        ([image(ONE), GONE], PruneImages((ONE,)), []),
    ],
)  # fmt: skip
def test_what_is_decided(happened: list[Event], command: Command, decided: list[Event]) -> None:
    """A digest goes with the last tag of its repository; an image in use loses names at most."""
    assert list(outcome(happened, command)) == decided  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("happened", "command", "refusal", "text"),
    [
        ([], RemoveImage(APP), NotFound, "No such image"),
        ([*TAGGED, events.ImageTagged(ONE, OTHER)], RemoveImage(ONE), Conflict, "referenced in multiple repositories"),
        ([*TAGGED, used(ONE)], RemoveImage(APP), Conflict, "must be forced"),
        ([image(ONE), used(ONE)], RemoveImage(ONE, force=True), Conflict, "being used by stopped container"),
        ([], LearnDigest(APP, KNOWN), NotFound, "No such image"),
    ],
)
def test_what_is_refused(happened: list[Event], command: Command, refusal: type[Rejection], text: str) -> None:
    """In Docker's words."""
    found = outcome(happened, command)
    assert isinstance(found, refusal)
    assert text in found.message


def test_a_digest_means_the_image_that_was_pulled_last() -> None:
    """An index has one digest for the images of all platforms."""
    state = state_of(*PULLED, image(TWO), events.ImageDigestLearned(TWO, KNOWN))
    assert state.references[KNOWN] == TWO
    assert state.images[ONE].digests == []
    assert state.images[TWO].digests == [KNOWN]


def test_a_removed_image_leaves_no_name() -> None:
    """Not its digests either."""
    assert state_of(*PULLED, GONE, events.ImageRemoved(ONE)).references == {}

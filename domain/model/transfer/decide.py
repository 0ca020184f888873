"""What becomes of a command on a transfer."""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.errors import Rejection
from docket.domain.log import Event
from docket.domain.model.image import decide as image
from docket.domain.model.image.commands import AddImage, LearnDigest
from docket.domain.model.state import EngineState
from docket.domain.model.transfer import commands, events


def complete_pull(state: EngineState, command: commands.CompletePull) -> Sequence[Event] | Rejection:
    """The image, its name and the end of the pull are one append: nobody sees one without the others."""
    added = image.add(state, AddImage(command.imported, command.tag, command.repository_digest))
    if isinstance(added, Rejection):
        return added
    digest = command.repository_digest.rpartition("@")[2]
    return [*added, events.ImagePulled(command.transfer, command.reference, command.imported.image, digest)]


def complete_push(state: EngineState, command: commands.CompletePush) -> Sequence[Event] | Rejection:
    """An image that was removed meanwhile has been pushed all the same."""
    learned = image.learn_digest(state, LearnDigest(command.image, command.repository_digest))
    digest = command.repository_digest.rpartition("@")[2]
    pushed = events.ImagePushed(command.transfer, command.reference, command.image, digest, command.size)
    return [pushed] if isinstance(learned, Rejection) else [*learned, pushed]

"""The end of a commit, which concerns two nouns: the container that it was made of, and the image that it made."""

from __future__ import annotations

from docket.domain.errors import Rejection
from docket.domain.log import Event
from docket.domain.model.container.commands import FinishCommit
from docket.domain.model.container.events import ContainerCommitted
from docket.domain.model.image.commands import AddImage
from docket.domain.model.image.decide import add
from docket.domain.model.state import EngineState


def finish(state: EngineState, command: FinishCommit) -> list[Event] | Rejection:
    """The image and the end of the commit are one batch: there is never one without the other."""
    imported = command.imported
    added = add(state, AddImage(imported, command.reference))
    if isinstance(added, Rejection):
        return added
    return [*added, ContainerCommitted(command.container, imported.image, command.reference, command.comment)]

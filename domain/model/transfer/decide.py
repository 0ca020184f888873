"""What becomes of a command on a transfer."""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.errors import Rejection
from docket.domain.log import Event
from docket.domain.model.image import decide as image
from docket.domain.model.image.commands import AddImage
from docket.domain.model.state import EngineState
from docket.domain.model.transfer import commands, events


def complete_pull(state: EngineState, command: commands.CompletePull) -> Sequence[Event] | Rejection:
    """The image, its name and the end of the pull are one append: nobody sees one without the others."""
    added = image.add(state, AddImage(command.imported, command.reference))
    if isinstance(added, Rejection):
        return added
    pulled = events.ImagePulled(command.transfer, command.reference, command.imported.image, command.digest)
    return [*added, pulled]

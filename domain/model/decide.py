"""One door to all deciders: which function answers which command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from docket.domain.errors import Rejection
from docket.domain.log import Event
from docket.domain.model import commits
from docket.domain.model.container import commands as container_commands
from docket.domain.model.container import decide as container
from docket.domain.model.engine import commands as engine_commands
from docket.domain.model.engine import decide as engine
from docket.domain.model.exec import commands as exec_commands
from docket.domain.model.exec import decide as exec_
from docket.domain.model.image import commands as image_commands
from docket.domain.model.image import decide as image
from docket.domain.model.state import EngineState
from docket.domain.model.transfer import commands as transfer_commands
from docket.domain.model.transfer import decide as transfer

_DECIDERS: dict[type[msgspec.Struct], Callable[[EngineState, Any], Sequence[Event] | Rejection]] = {
    engine_commands.ReconfigureEngine: engine.reconfigure,
    container_commands.CreateContainer: container.create,
    container_commands.StartContainer: container.start,
    container_commands.KillContainer: container.kill,
    container_commands.StopContainer: container.stop,
    container_commands.PauseContainer: container.pause,
    container_commands.UnpauseContainer: container.unpause,
    container_commands.RenameContainer: container.rename,
    container_commands.UpdateContainer: container.update,
    container_commands.CommitContainer: container.commit,
    container_commands.FinishCommit: commits.finish,
    container_commands.RemoveContainer: container.remove,
    exec_commands.CreateExec: exec_.create,
    exec_commands.StartExec: exec_.start,
    image_commands.AddImage: image.add,
    image_commands.LoadImage: image.load,
    image_commands.TagImage: image.tag,
    image_commands.PruneImages: image.prune,
    image_commands.LearnDigest: image.learn_digest,
    image_commands.RemoveImage: image.remove,
    transfer_commands.CompletePull: transfer.complete_pull,
    transfer_commands.CompletePush: transfer.complete_push,
}

Command = (
    engine_commands.EngineCommand
    | container_commands.ContainerCommand
    | exec_commands.ExecCommand
    | image_commands.ImageCommand
    | transfer_commands.TransferCommand
)


def decide(state: EngineState, command: Command) -> Sequence[Event] | Rejection:
    """What the command causes in this state: events, or the reason why not. Changes nothing."""
    return _DECIDERS[type(command)](state, command)

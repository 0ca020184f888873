"""What can be asked of a container. ``container`` is what the caller calls it: an id, a name, or a unique prefix of an id."""

from __future__ import annotations

import msgspec

from docket.domain.model.container.spec import ContainerSpec, Resources
from docket.domain.model.image.events import ImageImported


class CreateContainer(msgspec.Struct, frozen=True):
    """Make a container. ``container`` is its new id; without a ``name`` one is generated from ``name_seed``."""

    container: str
    name: str
    name_seed: int
    image_id: str
    layers: tuple[str, ...]
    spec: ContainerSpec


class StartContainer(msgspec.Struct, frozen=True):
    container: str


class KillContainer(msgspec.Struct, frozen=True):
    container: str
    signal: int


class StopContainer(msgspec.Struct, frozen=True):
    """``signal`` and ``timeout_seconds`` override the container's own; a timeout of -1 waits for ever."""

    container: str
    signal: int
    timeout_seconds: int


class PauseContainer(msgspec.Struct, frozen=True):
    container: str


class UnpauseContainer(msgspec.Struct, frozen=True):
    container: str


class RenameContainer(msgspec.Struct, frozen=True):
    container: str
    name: str


class UpdateContainer(msgspec.Struct, frozen=True):
    """``resources`` that are not asked for stay as they are."""

    container: str
    resources: Resources


class CommitContainer(msgspec.Struct, frozen=True):
    """Make an image of the container's writable layer; with ``pause`` it is frozen meanwhile, if it runs."""

    container: str
    pause: bool


class FinishCommit(msgspec.Struct, frozen=True):
    """The image ``imported`` of this commit is complete on disk; tag it with ``reference`` unless that is empty."""

    container: str
    imported: ImageImported
    reference: str = ""
    comment: str = ""


class RemoveContainer(msgspec.Struct, frozen=True):
    container: str


ContainerCommand = (
    CreateContainer
    | StartContainer
    | KillContainer
    | StopContainer
    | PauseContainer
    | UnpauseContainer
    | RenameContainer
    | UpdateContainer
    | CommitContainer
    | FinishCommit
    | RemoveContainer
)

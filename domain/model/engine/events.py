"""What can happen to the engine itself."""

from __future__ import annotations

from docket.domain.log import Event


class EngineEvent(Event, frozen=True, gc=False):
    """An event of the stream ``engine``: one log belongs to one engine."""

    @property
    def stream(self) -> str:
        return "engine"


class EngineCreated(EngineEvent, frozen=True, gc=False):
    """The data root came into being. ``engine`` is its id for ever, on whatever host and boot it is used."""

    engine: str


class EngineReconfigured(EngineEvent, frozen=True, gc=False, omit_defaults=True):
    """The settings that can change while the engine runs are these from now on."""

    engine: str
    labels: tuple[str, ...] = ()
    debug: bool = False
    log_level: str = "info"
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    shutdown_timeout_seconds: int = 2


class EngineRepaired(EngineEvent, frozen=True, gc=False):
    """A check found something in ``area`` that was not as the log says, and put it right."""

    area: str
    subject: str
    problem: str
    repair: str


class LogSealed(EngineEvent, frozen=True, gc=False):
    """Events ``first`` to ``last`` lie in an archive from now on. ``hash`` is the last one's, ``archive`` the archive's SHA-256."""

    engine: str
    first: int
    last: int
    hash: str
    archive: str


class ArchivesDropped(EngineEvent, frozen=True, gc=False):
    """The archives of all events up to ``upto`` were dropped, as the operator's limits say."""

    engine: str
    upto: int


class EngineSwept(EngineEvent, frozen=True, gc=False):
    """So many blobs and layers that no image needed were deleted."""

    blobs: int
    layers: int
    reclaimed_bytes: int


class ImagesPruned(EngineEvent, frozen=True, gc=False):
    """A prune of images has ended: so many of them were removed."""

    images: int
    reclaimed_bytes: int


EVENTS: tuple[type[EngineEvent], ...] = (
    EngineCreated,
    EngineReconfigured,
    EngineRepaired,
    LogSealed,
    ArchivesDropped,
    EngineSwept,
    ImagesPruned,
)

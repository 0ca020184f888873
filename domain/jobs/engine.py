"""reload, and the id that a data root gets at its first start."""

from __future__ import annotations

import msgspec

from docket.domain.engine import Engine, Job
from docket.domain.log import Batch, Metadata
from docket.domain.model.engine.commands import ReconfigureEngine
from docket.domain.model.engine.events import EngineCreated
from docket.domain.model.engine.settings import RELOADABLE, EngineSettings
from docket.domain.ports import Clock, EventStore, Ids
from docket.domain.snapshots import beginning

_ID_DIGITS = 32


async def reload(engine: Engine, job: Job) -> None:
    """Put the settings in ``job.request`` in force, as far as they can change while the engine runs."""
    settings: EngineSettings = job.request
    await engine.execute(ReconfigureEngine(settings), job)
    changed = {name: getattr(settings, name) for name in RELOADABLE}
    engine.settings = msgspec.structs.replace(engine.settings, **changed)


async def identity_of(store: EventStore, clock: Clock, ids: Ids) -> str:
    """The id of the data root, in the form of Docker's; it is made at the first start. No engine need be there yet."""
    if store.floor():
        return beginning(store).engine
    for stored in store.read(stream="engine", types=("EngineCreated",), limit=1):
        if isinstance(stored.event, EngineCreated):
            return stored.event.engine
    digits = ids.new(_ID_DIGITS)
    identity = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    await store.append(Batch((EngineCreated(identity),), Metadata(clock.now_ns(), ids.new(32), "engine")))
    return identity

"""reload, and the id that a data root gets at its first start."""

from __future__ import annotations

import msgspec

from docket.domain.engine import Engine, Job
from docket.domain.model.engine.commands import CreateEngine, ReconfigureEngine
from docket.domain.model.engine.settings import RELOADABLE, EngineSettings

_ID_DIGITS = 32


async def reload(engine: Engine, job: Job) -> None:
    """Put the settings in ``job.request`` in force, as far as they can change while the engine runs."""
    settings: EngineSettings = job.request
    await engine.execute(ReconfigureEngine(settings), job)
    changed = {name: getattr(settings, name) for name in RELOADABLE}
    engine.settings = msgspec.structs.replace(engine.settings, **changed)


async def ensure_identity(engine: Engine, job: Job) -> None:
    """Give the data root an id in the form of Docker's; afterwards there is nothing to do."""
    digits = engine.ports.ids.new(_ID_DIGITS)
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    await engine.execute(CreateEngine("-".join(parts)), job)

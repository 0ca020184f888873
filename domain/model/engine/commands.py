"""What can be asked of the engine itself."""

from __future__ import annotations

import msgspec

from docket.domain.model.engine.settings import EngineSettings


class ReconfigureEngine(msgspec.Struct, frozen=True):
    """From now on the settings that can change are those of ``settings``."""

    settings: EngineSettings


EngineCommand = ReconfigureEngine

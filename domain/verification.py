"""The check of the whole log, in small pieces beside everything else.

A start checks only what stands behind the last state snapshot, so that it does not depend on the length of the log. Everything
before that is checked from here: a piece at a time, with pauses, so that requests hardly notice (S52).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from docket.domain.errors import CorruptEvent, StoreError, StoreRefused

if TYPE_CHECKING:
    from docket.domain.engine import Engine

_PIECE_EVENTS = 500
_PAUSE_SECONDS = 0.05  # a piece takes about 10 ms


class LogHealth(msgspec.Struct, frozen=True):
    """``status`` is ``checking``, ``sound``, ``damaged`` or ``unknown`` (it could not be read). ``position`` is how far it was
    checked, or the first event that is not what was appended."""

    status: str = "checking"
    position: int = 0
    message: str = ""


async def verify_log(engine: Engine) -> None:
    """Check all that was in the log when the engine started, and tell the operator what was found."""
    store, report = engine.ports.store, engine.ports.report
    head, position = store.head(), 0
    try:
        while position < head:
            found = await trio.to_thread.run_sync(store.verify, position, _PIECE_EVENTS)
            position = found.position
            engine.health = LogHealth(position=position)
            await trio.sleep(_PAUSE_SECONDS)
        await trio.to_thread.run_sync(store.verify, position)
    except CorruptEvent as error:
        _damaged(engine, error.position, str(error))
    except StoreRefused as error:
        _damaged(engine, 0, str(error))
    except StoreError as error:
        engine.health = LogHealth("unknown", position, str(error))
        report("error", "event log could not be verified", position=position, error=error)
    else:
        engine.health = LogHealth("sound", position)
        report("info", "event log verified", events=position)


def _damaged(engine: Engine, position: int, message: str) -> None:
    engine.health = LogHealth("damaged", position, message)
    advice = "restore the data root from a backup; the next start is refused until the log is whole"
    engine.ports.report("error", "event log is damaged", position=position, error=message, advice=advice)

"""State snapshots: folds that are kept, so that neither a start nor a look at the past depends on the length of the log.

They are taken every few thousand events, beside what jobs do: in a moment in which nothing is appended, if there is one, for
encoding takes milliseconds. A snapshot is a copy of what the events say; losing one, or the last few, costs nothing but time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from docket.domain.errors import CorruptEvent
from docket.domain.model.state import EngineState, fold
from docket.domain.ports import EventStore

if TYPE_CHECKING:
    from docket.domain.engine import Engine

EVERY_EVENTS = 4096
_QUIET_SECONDS = 0.1
_QUIET_ATTEMPTS = 50


def state_at(store: EventStore, position: int | None = None) -> tuple[EngineState, int]:
    """The fold up to ``position``, or of the whole log, and where the snapshot stands that it began with (0: with none).

    Raises `StoreError`.
    """
    saved = store.load_snapshot(position)
    if saved is None:
        return fold(store.read_for_fold(0, position)), 0
    return fold(store.read_for_fold(saved[0], position), decode_state(*saved)), saved[0]


def decode_state(position: int, data: bytes) -> EngineState:
    """The state of a snapshot. Raises `CorruptEvent`: one that came with a log from elsewhere may hold anything (S57)."""
    try:
        return msgspec.json.decode(data, type=EngineState)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptEvent(position, f"the state snapshot taken at it does not decode: {error}") from error


def beginning(store: EventStore) -> EngineState:
    """The state that the events which are kept go on from: the empty one while all are. Raises `StoreError`."""
    floor = store.floor()
    return state_at(store, floor)[0] if floor else EngineState()


class Snapshots:
    """When the next snapshot is due, and taking it. ``last`` is the position of the newest one."""

    def __init__(self, engine: Engine, last: int) -> None:
        self._engine = engine
        self.due = last + EVERY_EVENTS
        """The position at which `begin` is to be called."""

    def begin(self) -> None:
        """Take a snapshot soon."""
        self.due = self._engine.state.position + 2 * EVERY_EVENTS  # nobody else begins meanwhile
        self._engine.spawn(self._save)

    async def _save(self) -> None:
        """Wait for a quiet moment, but not for ever."""
        engine = self._engine
        for _ in range(_QUIET_ATTEMPTS):
            position = engine.state.position
            await trio.sleep(_QUIET_SECONDS)
            if engine.state.position == position:
                break
        engine.save_snapshot()
        engine.ports.report("debug", "State snapshot taken", position=engine.state.position)
        self.due = engine.state.position + EVERY_EVENTS
        engine.compaction.consider()

"""Reading the past of the log beside everything else: in worker threads, a piece at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice

import trio

from docket.domain.engine import Engine
from docket.domain.errors import EventsDropped, InvalidArgument, Rejected
from docket.domain.log import StoredEvent

_PIECE = 200


async def read_past(
    engine: Engine,
    after: int = 0,
    *,
    since_ns: int = 0,
    until_ns: int = 0,
    stream: str | None = None,
    types: Sequence[str] | None = None,
    job: str | None = None,
) -> AsyncIterator[StoredEvent]:
    """Durable events behind ``after``, of times between the two (0 for no limit); where they begin is looked up, not searched."""
    store = engine.ports.store
    if since_ns:
        after = max(after, await trio.to_thread.run_sync(store.position_before, since_ns))
    events = iter(store.read(after, stream=stream, types=types, job=job))
    while piece := await trio.to_thread.run_sync(_piece, events):
        for stored in piece:
            time_ns = stored.metadata.time_ns
            if time_ns >= since_ns and (not until_ns or time_ns <= until_ns):
                yield stored


def _piece(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    return list(islice(events, _PIECE))


def check_kept(engine: Engine, after: int) -> None:
    """Raises `Rejected` when events behind ``after`` are no longer kept; 0 asks for those that are."""
    floor = engine.ports.store.floor()
    if 0 < after < floor:
        raise Rejected(InvalidArgument(f"events behind {after} cannot be shown: {EventsDropped(floor)}"))

"""Compaction: the log stays bounded. What is old is sealed into archives, and the oldest archives go, as the operator says.

    the newest events ──────► stay in the log itself, at least so many
    what stood before them ─► is sealed, range by range: an archive beside the log, an event that says so, and the fold
    the oldest archives ────► are dropped when there are too many bytes of them, or when they are too old

Sealing changes nothing that anybody sees: events have their positions, `docket log` and ``--at`` read on through the archives, and
the chain is verified through them. Only dropping an archive ends something, and its events are then refused with a sentence.

What the log goes on with in the place of sealed events is the fold of them, so what has ended is not in it: the streams of removed
containers and ended jobs, and the ended runs of a container that lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
import trio

from docket.domain.log import Fate
from docket.domain.model.engine.events import ArchivesDropped, LogSealed
from docket.domain.model.state import EngineState
from docket.domain.ports import EventStore
from docket.domain.snapshots import beginning, state_at

if TYPE_CHECKING:
    from docket.domain.engine import Engine, Job

RANGE_EVENTS = 16_384
"""How many are sealed at once: an archive of about a megabyte, made in a second beside everything else."""

_PAUSE_SECONDS = 0.02
"""Between two pieces of deleting, so that appends hardly wait."""


class Compact(msgspec.Struct, frozen=True):
    """A request to compact now. ``keep`` is how many of the newest events stay in the log itself; None as the settings say."""

    keep: int | None = None


class Compacted(msgspec.Struct, frozen=True):
    """What became of it."""

    sealed: int
    """Events that were sealed."""
    archives: int
    archived_bytes: int
    """Of all archives that there are now."""
    floor: int
    """Events up to here are no longer kept."""


def fate_in(state: EngineState) -> Callable[[str], Fate]:
    """What becomes of each stream's sealed events, when ``state`` is the fold of all that is sealed."""
    # An id of these is made for one life; images, and the engine, may come again under the same name.
    once: dict[str, Mapping[str, object]] = {"container": state.containers, "exec": state.execs, "job": state.jobs}

    def fate(stream: str) -> Fate:
        kind, _, key = stream.partition("-")
        if kind in once:
            return Fate.LIVES if key in once[kind] else Fate.ENDED
        if kind == "image":
            return Fate.LIVES if f"sha256:{key}" in state.images else Fate.RESTS
        return Fate.LIVES

    return fate


def horizon(store: EventStore) -> int:
    """The position up to which events are sealed."""
    seals = store.sealed()
    return seals[-1].last if seals else 0


class Compaction:
    """When it is time to compact, and that it is done once at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = trio.Lock()
        self._asked = False

    def consider(self) -> None:
        """Compact soon, when there is a whole range beyond what is to stay, or an archive beyond the limits."""
        store, keep = self._engine.ports.store, self._engine.settings.log_retention_events
        due = keep and store.head() - horizon(store) >= keep + RANGE_EVENTS
        if not self._asked and (due or self._superfluous()):
            self._asked = True
            self._engine.spawn(self._compact)

    async def _compact(self) -> None:
        try:
            await self._engine.run(self._engine.job("compact", (), "engine"))
        finally:
            self._asked = False

    async def run(self, job: Job, keep: int | None) -> Compacted:
        """Seal, trim, drop and sweep. Raises `StoreError`; what was done until then stays, and the next time goes on."""
        store = self._engine.ports.store
        async with self._lock:
            await trio.to_thread.run_sync(store.sweep)
            before = horizon(store)
            await self._seal(job, keep)
            await self._drop(job)
            await trio.to_thread.run_sync(store.sweep)
            seals = [seal for seal in store.sealed() if seal.kept]
            return Compacted(horizon(store) - before, len(seals), sum(seal.size for seal in seals), store.floor())

    async def _seal(self, job: Job, keep: int | None) -> None:
        store, settings = self._engine.ports.store, self._engine.settings
        whole = keep is None  # by itself, only whole ranges: archives of a few events would be many
        stays = settings.log_retention_events if keep is None else keep
        end = store.head() - max(stays, 1)  # one event at least is what the next one is chained to
        while (left := end - horizon(store)) >= (RANGE_EVENTS if whole else 1):
            if keep is None and not stays:
                return
            upto = horizon(store) + min(left, RANGE_EVENTS)
            state, folded = await trio.to_thread.run_sync(_fold, store, upto)
            seal = await trio.to_thread.run_sync(store.archive, upto)
            event = LogSealed(state.engine, seal.first, seal.last, seal.hash.hex(), seal.digest.hex())
            await self._engine.append_seal(event, job, {upto: folded}, seal=seal)
            pieces = store.trim(fate_in(state))
            while await trio.to_thread.run_sync(partial(next, pieces, 0)):
                await trio.sleep(_PAUSE_SECONDS)

    async def _drop(self, job: Job) -> None:
        """Drop the oldest archives that are beyond the operator's limits. The fold of what they held stays."""
        store, upto = self._engine.ports.store, self._superfluous()
        if upto:
            state, folded = await trio.to_thread.run_sync(_fold, store, upto)
            gone = await trio.to_thread.run_sync(_forgotten, store, state)
            event = ArchivesDropped(state.engine, upto)
            await self._engine.append_seal(event, job, {upto: folded}, drop_upto=upto, forgotten=gone)

    def _superfluous(self) -> int:
        """The last event of the newest archive that is to be dropped; 0 for none."""
        store, settings = self._engine.ports.store, self._engine.settings
        seals = [seal for seal in store.sealed() if seal.kept]
        total, upto = sum(seal.size for seal in seals), 0
        oldest_ns = self._engine.ports.clock.now_ns() - settings.log_retention_age_seconds * 1_000_000_000
        for seal in seals:
            too_old = settings.log_retention_age_seconds and seal.max_time_ns < oldest_ns
            if total <= settings.log_retention_bytes and not too_old:
                break
            total, upto = total - seal.size, seal.last
        return upto


def _fold(store: EventStore, upto: int) -> tuple[EngineState, bytes]:
    state, _ = state_at(store, upto)
    return state, msgspec.json.encode(state)


def _forgotten(store: EventStore, state: EngineState) -> list[str]:
    """The secrets that nobody can ask for once all events up to ``state`` are dropped: those of what has ended by then."""
    before = beginning(store)
    known = _named(before)
    for stored in store.read(before.position, state.position, types=("ContainerCreated", "ExecCreated")):
        known.update(_secrets(getattr(stored.event, "spec", None)))
    return sorted(known - _named(state) - {""})


def _named(state: EngineState) -> set[str]:
    specs = [container.spec for container in state.containers.values()], [each.spec for each in state.execs.values()]
    return {reference for spec in chain.from_iterable(specs) for reference in _secrets(spec)}


def _secrets(spec: object) -> tuple[str, str]:
    return getattr(spec, "environment", ""), getattr(spec, "arguments", "")

"""A busy trio loop stands aside for the writing thread, an idle one never."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from docket.domain.log import Batch
from docket.event_store.codec import Codec
from docket.event_store.fairness import StandAside
from docket.event_store.sqlite import SqliteEventStore


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record pauses instead of making them; the clock moves 0.3 ms at each look."""
    made: list[float] = []
    clock = iter(n * 3e-4 for n in range(1, 1000))
    monkeypatch.setattr(time, "sleep", made.append)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    return made


def test_a_busy_loop_pauses_about_once_a_millisecond(pauses: list[float]) -> None:
    """Not in every pass, or the loop would do nothing but wait."""
    instrument = StandAside(lambda: True)
    for _ in range(40):  # 12 ms
        instrument.before_io_wait(0)
    assert 9 <= len(pauses) <= 12


def test_there_is_no_pause_when_nothing_is_written_or_the_loop_is_idle(pauses: list[float]) -> None:
    """A poll that blocks frees the interpreter by itself."""
    StandAside(lambda: False).before_io_wait(0)
    StandAside(lambda: True).before_io_wait(0.5)
    assert pauses == []


async def test_appends_get_through_while_the_loop_is_busy(
    tmp_path: Path, codec: Codec, noted: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each loop gets one instrument, and an append ends although other tasks never rest."""
    added: list[trio.abc.Instrument] = []
    add = trio.lowlevel.add_instrument

    def record(instrument: trio.abc.Instrument) -> None:
        added.append(instrument)
        add(instrument)

    monkeypatch.setattr(trio.lowlevel, "add_instrument", record)

    async def compute() -> None:
        while True:
            sum(range(1000))
            await trio.lowlevel.checkpoint()

    with SqliteEventStore(tmp_path / "log.db", codec) as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(compute)
            for _ in range(20):
                await store.append(noted("a"))
            nursery.cancel_scope.cancel()
        assert store.head() == 20
    assert [type(instrument) for instrument in added] == [StandAside]
    assert not store._writer.busy()

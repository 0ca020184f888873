"""Recordings are kept within bounds, and what is kept is whole."""

from __future__ import annotations

from pathlib import Path

from docket.event_store.codec import Codec
from docket.event_store.recordings import RecordingLimits
from docket.event_store.sqlite import SqliteEventStore

DAY = 86_400 * 10**9


async def test_the_oldest_jobs_recordings_go_when_there_are_too_many(tmp_path: Path, codec: Codec) -> None:
    """Size counts; a job's parts go together, and the newest job's stay."""
    limits = RecordingLimits(max_bytes=10_000)
    with SqliteEventStore(tmp_path / "log.db", codec, recordings=limits) as store:
        for number in range(30):
            store.save_recording(f"job-{number}", b"h" * 500 + b"\n")
            store.save_recording(f"job-{number}", b"c" * 500 + b"\n")
        await store.settle()
        kept = store.recorded_jobs()
        assert kept[-1] == "job-29"
        assert 5 <= len(kept) <= 10
        assert kept == [f"job-{number}" for number in range(30 - len(kept), 30)]
        assert all(len(store.recording(job) or b"") == 1002 for job in kept)
    with SqliteEventStore(tmp_path / "log.db", codec, recordings=limits) as store:
        for number in range(30, 35):
            store.save_recording(f"job-{number}", b"x" * 2000)
        await store.settle()
        assert sum(len(store.recording(job) or b"") for job in store.recorded_jobs()) <= 11_000


async def test_recordings_go_when_they_are_too_old(tmp_path: Path, codec: Codec) -> None:
    """Age counts, and is looked at once an hour at most."""
    now = [0]
    with SqliteEventStore(
        tmp_path / "log.db", codec, clock=lambda: now[0], recordings=RecordingLimits(max_age_seconds=7 * 86_400)
    ) as store:
        for day in range(10):
            now[0] = (day + 1) * DAY
            store.save_recording(f"job-{day}", b"x")
        await store.settle()
        assert store.recorded_jobs() == [f"job-{day}" for day in range(2, 10)]


async def test_nothing_is_kept_where_nothing_is_wanted(tmp_path: Path, codec: Codec) -> None:
    """``max_bytes`` 0 turns recordings off."""
    with SqliteEventStore(tmp_path / "log.db", codec, recordings=RecordingLimits(max_bytes=0)) as store:
        store.save_recording("job", b"x")
        await store.settle()
        assert store.recorded_jobs() == []

"""The log under a power cut: SQLite's write-ahead log is cut at every frame and in the middle of frames."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import trio

from docket.domain.log import Batch, Metadata
from docket.domain.model.job.events import JobAccepted, JobCompleted
from docket.domain.model.state import EVENT_TYPES
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore

HEADER = 32
FRAME_HEADER = 24
BATCHES = 12


async def _fill(path: Path, copy: Path) -> list[int]:
    """Append batches of two; returns the write-ahead log's length when each was acknowledged, and keeps a copy of both files."""
    lengths = []
    with SqliteEventStore(path, Codec(EVENT_TYPES)) as store:
        for number in range(BATCHES):
            key = f"{number:032x}"
            await store.append(Batch((JobAccepted(key, "start"), JobCompleted(key)), Metadata(number + 1)))
            lengths.append(Path(f"{path}-wal").stat().st_size)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return lengths


def _after_cut(copy: Path, directory: Path, length: int, torn: bool) -> int:
    """Open what a cut leaves: the write-ahead log up to a length, and behind it nothing or rubbish. Returns the head."""
    directory.mkdir()
    log = directory / "log.db"
    shutil.copy(copy, log)
    data = Path(f"{copy}-wal").read_bytes()
    rest = bytes(len(data) - length) if torn else b""
    Path(f"{log}-wal").write_bytes(data[:length] + rest)
    with SqliteEventStore(log, Codec(EVENT_TYPES)) as store:
        report = store.verify()
        assert report.events == store.head()
        return store.head()


def test_a_cut_anywhere_keeps_what_was_acknowledged_and_no_half_batch(tmp_path: Path) -> None:
    """At each frame boundary and in each frame, with and without rubbish behind: the chain verifies, batches are whole."""
    copy = tmp_path / "copy.db"
    lengths = trio.run(_fill, tmp_path / "log.db", copy)
    data = Path(f"{copy}-wal").read_bytes()
    (page,) = struct.unpack(">I", data[8:12])
    frame = FRAME_HEADER + page
    cuts = [HEADER + frame * number for number in range((len(data) - HEADER) // frame + 1)]
    cuts += [cut + frame // 2 for cut in cuts[:-1]] + [cut + FRAME_HEADER // 2 for cut in cuts[:-1]]
    heads = set()
    for number, cut in enumerate(sorted(cuts)):
        for torn in (False, True):
            head = _after_cut(copy, tmp_path / f"{number}{torn}", cut, torn)
            acknowledged = 2 * sum(length <= cut for length in lengths)
            assert head >= acknowledged, "an acknowledged event is lost"
            assert head % 2 == 0, "half a batch is there"
            heads.add(head)
    assert max(heads) == 2 * BATCHES

"""Pieces of output become lines, as Docker's logs show them.

A line shows once it is whole, with the time of its last piece; its unfinished rest shows when its run has ended. Lines of one
stream stay in order; lines of the two streams come in the order in which they were finished.
"""

from __future__ import annotations

import msgspec

from docket.domain.output_log import RUN_BEGINS
from docket.domain.ports import LogEntry

HELD_BYTES = 65_536
"""A longer line is passed on in pieces: it must not cost memory."""


class _Held:
    """The unfinished line of one stream."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.continues = False
        self.time_ns = 0

    def take(self, time_ns: int, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)
        self.time_ns = time_ns

    def give(self, stream: int) -> LogEntry:
        """All that is held; what comes next continues the line."""
        entry = LogEntry(self.time_ns, stream, b"".join(self.pieces), self.continues)
        self.pieces, self.size, self.continues = [], 0, True
        return entry


class LineAssembler:
    """Takes entries as they were written, and gives entries of whole lines. The first ``skip`` lines are left out."""

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip
        self._held = {1: _Held(), 2: _Held()}

    def feed(self, entry: LogEntry) -> list[LogEntry]:
        """What has become whole with this entry."""
        if entry.stream == RUN_BEGINS:
            return self.flush()
        held = self._held[entry.stream]
        cut = entry.data.rfind(b"\n") + 1
        if not cut:
            held.take(entry.time_ns, entry.data)
            return [held.give(entry.stream)] if held.size > HELD_BYTES and not self._skip else []
        held.take(entry.time_ns, entry.data[:cut])
        whole = self._kept(held.give(entry.stream))
        held.continues = False
        if cut < len(entry.data):
            held.take(entry.time_ns, entry.data[cut:])
        return [whole] if whole is not None else []

    def flush(self) -> list[LogEntry]:
        """The unfinished lines of a run that has ended."""
        ended = []
        for stream, held in self._held.items():
            if held.size:
                entry = self._kept(held.give(stream))
                if entry is not None:
                    ended.append(entry)
            held.continues = False
        return ended

    def _kept(self, entry: LogEntry) -> LogEntry | None:
        if not self._skip:
            return entry
        data, start = entry.data, 0
        while self._skip and start < len(data):
            start = data.find(b"\n", start) + 1 or len(data)
            self._skip -= 1
        return msgspec.structs.replace(entry, data=data[start:], continues=False) if start < len(data) else None

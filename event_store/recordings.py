"""Keeps the table of kernel recordings within its bounds: the oldest jobs' recordings go first, by age and by size.

A recording is only of use whole, so a job's rows go together. Sizes are counted in memory, and the table is asked only when it is
to be pruned. Pruned recordings are no loss for the log: events tell what happened, recordings how.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

_AGE_CHECK_NS = 3_600 * 1_000_000_000

INSERT = "INSERT INTO recordings (job, created_ns, data) VALUES (?, ?, ?)"

_PRUNE_AGE = "DELETE FROM recordings WHERE job IN (SELECT job FROM recordings WHERE created_ns < ?)"

# length() of a blob does not read it. What is newest is kept, up to the size that is asked for.
_PRUNE_SIZE = """
DELETE FROM recordings WHERE job IN (
    SELECT job FROM (SELECT job, sum(length(data)) OVER (ORDER BY id DESC) AS bytes FROM recordings) WHERE bytes > ?
)"""


class RecordingLimits(msgspec.Struct, frozen=True):
    """How much is kept. ``max_bytes`` 0 keeps nothing."""

    max_bytes: int = 64 << 20
    max_age_seconds: int = 7 * 86_400


class Recordings:
    """Says what to write for a recording, and when to prune."""

    def __init__(self, connection: sqlite3.Connection, limits: RecordingLimits) -> None:
        self._limits = limits
        (self._bytes,) = connection.execute("SELECT ifnull(sum(length(data)), 0) FROM recordings").fetchone()
        self._age_checked_ns = 0

    def statements(self, job: str, now_ns: int, data: bytes) -> list[tuple[str, tuple[Any, ...]]]:
        """The statements that keep ``data`` and drop what is too old or too much; none when nothing is to be kept."""
        limits = self._limits
        if not limits.max_bytes:
            return []
        statements: list[tuple[str, tuple[Any, ...]]] = [(INSERT, (job, now_ns, data))]
        self._bytes += len(data)
        if now_ns - self._age_checked_ns >= _AGE_CHECK_NS:
            self._age_checked_ns = now_ns
            statements.append((_PRUNE_AGE, (now_ns - limits.max_age_seconds * 1_000_000_000,)))
        if self._bytes > limits.max_bytes:
            self._bytes = limits.max_bytes - limits.max_bytes // 8  # a margin, so that not every recording prunes
            statements.append((_PRUNE_SIZE, (self._bytes,)))
        return statements

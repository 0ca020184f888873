"""Erases secrets so that their bytes are in no file any more."""

from __future__ import annotations

import sqlite3

from docket.domain.errors import StoreFailed


def erase(connection: sqlite3.Connection, reference: str) -> bool:
    """Delete a secret and every copy of its bytes; tell whether there was one.

    Runs in the writer's thread, outside a transaction. Raises StoreFailed while another program's reading keeps copies alive.
    ``secure_delete`` zeroes the row and the pages that become free; truncating the WAL drops the older pages that it still
    held. The file system's own copies (journal, snapshots, backups) are beyond a database's reach.
    """
    erased = connection.execute("DELETE FROM secrets WHERE reference = ?", [reference]).rowcount > 0
    # Also when there was none: an earlier call may have been stopped between its commit and this.
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreFailed(
            "the secret is erased from the log, but another program reads the database and keeps old pages in its WAL: "
            "end that program, then forget again"
        )
    return erased

"""What checking the whole log found."""

from __future__ import annotations

import msgspec


class VerifyReport(msgspec.Struct, frozen=True):
    """All is well: ``events`` were checked, the last at ``position`` with ``hash``. Trouble is raised, not reported.

    Whoever keeps position and hash elsewhere can tell later that the log up to there is still the same.
    """

    events: int
    position: int
    hash: bytes
    floor: int = 0
    """Events up to here are no longer kept: the chain was followed from the hash that it had there."""

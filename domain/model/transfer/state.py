"""What a transfer is while it is under way. One that has ended is history, which the log has."""

from __future__ import annotations

import msgspec


class Transfer(msgspec.Struct):
    """The folded state of an open transfer. Only `evolve` writes to it."""

    id: str
    reference: str
    push: bool
    layers: int = 0
    """How many layers are done."""

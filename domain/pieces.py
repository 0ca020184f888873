"""Streams of bytes in pieces of another size."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # a command line that copies a file imports this, and nothing more
    from collections.abc import Iterable, Iterator

PIECE = 1 << 18


def gathered(pieces: Iterable[bytes], least: int = PIECE) -> Iterator[bytes]:
    """The same bytes in fewer, larger pieces: each but the last has ``least`` bytes or more."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= least:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)

"""The form in which a container's output is kept: records of a 16-byte header and the bytes as they were read.

    bytes 0–7    time, nanoseconds since the epoch, big-endian
    byte  8      stream: 1 stdout, 2 stderr; 0 is no output but the beginning of a run, whose number is the data
    byte  9      the streams that had an unfinished line before this record: 1 stdout, 2 stderr, 3 both
    bytes 10–11  zero
    bytes 12–15  length of the data that follows, big-endian

One record is one read from the pipe, not one line: writing costs per chunk. Files are ``path`` (the newest), ``path.1`` and so on.
A record never spans two files, nor two blocks of `BLOCK_BYTES` in one: a block's first record begins where the block does, so a
reader finds its way from any block's start and reads the end of a large file without its beginning. Where a block has no room for
a header and four bytes, the rest of it is skipped. The module imports nothing, because the shim uses it too.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES = 16
BLOCK_BYTES = 65_536
RUN_BEGINS = 0
_NEWLINE = 10
_LEAST_ROOM = 4


def encode_header(time_ns: int, stream: int, length: int, unfinished: int = 0) -> bytes:
    """The header of a record."""
    return time_ns.to_bytes(8, "big") + bytes((stream, unfinished, 0, 0)) + length.to_bytes(4, "big")


def decode_header(header: bytes) -> tuple[int, int, int, int]:
    """``(time_ns, stream, unfinished, length)``. Raises `ValueError` for bytes that are no header."""
    stream, unfinished = header[8], header[9]
    length = int.from_bytes(header[12:16], "big")
    if stream > 2 or unfinished > 3 or header[10:12] != b"\0\0" or not 0 < length <= BLOCK_BYTES - HEADER_BYTES:
        raise ValueError("not the header of an output record")
    return int.from_bytes(header[:8], "big"), stream, unfinished, length


def room_in_block(offset: int) -> int:
    """How many bytes of data a record at this offset of a file can hold; 0: it has to go into the next block."""
    room = BLOCK_BYTES - offset % BLOCK_BYTES - HEADER_BYTES
    return room if room >= _LEAST_ROOM else 0


def next_block(offset: int) -> int:
    """Where the block behind the one of this offset begins."""
    return offset - offset % BLOCK_BYTES + BLOCK_BYTES


def records(block: bytes) -> "Iterator[tuple[int, int, int, int, bytes]]":
    """``(end, time_ns, stream, unfinished, data)`` of each whole record in a block, or in its end from a record's beginning on."""
    start = 0
    while start + HEADER_BYTES < len(block):
        try:
            time_ns, stream, unfinished, length = decode_header(block[start : start + HEADER_BYTES])
        except ValueError:
            return
        end = start + HEADER_BYTES + length
        if end > len(block):
            return
        yield end, time_ns, stream, unfinished, block[start + HEADER_BYTES : end]
        start = end


def unfinished_after(stream: int, unfinished: int, data: "bytes | memoryview") -> int:
    """The streams with an unfinished line behind a record of output."""
    return unfinished & ~stream if data[-1] == _NEWLINE else unfinished | stream

"""The form in which a container's output is kept: records of a 16-byte header and the bytes as they were read.

    bytes 0–7    time, nanoseconds since the epoch, big-endian
    byte  8      stream: 1 stdout, 2 stderr
    bytes 9–11   zero
    bytes 12–15  length of the data that follows, big-endian

One record is one read from the pipe, not one line: writing costs per chunk. Files are ``path`` (the newest), ``path.1`` and so on;
a record never spans two files. The module imports nothing, because the shim uses it too.
"""

HEADER_BYTES = 16
MAX_RECORD_BYTES = 1 << 20


def encode_header(time_ns: int, stream: int, length: int) -> bytes:
    """The header of a record."""
    return time_ns.to_bytes(8, "big") + bytes((stream, 0, 0, 0)) + length.to_bytes(4, "big")


def decode_header(header: bytes) -> tuple[int, int, int]:
    """``(time_ns, stream, length)``. Raises `ValueError` for bytes that are no header."""
    stream = header[8]
    length = int.from_bytes(header[12:16], "big")
    if stream not in (1, 2) or header[9:12] != b"\0\0\0" or length > MAX_RECORD_BYTES:
        raise ValueError("not the header of an output record")
    return int.from_bytes(header[:8], "big"), stream, length

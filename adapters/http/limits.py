"""The limits of one server: bytes, counts and times, all in one place because others size what they bound."""

from dataclasses import dataclass

DEFAULT_BODY_LIMIT_BYTES = 4 * 1024 * 1024
"""Cap of a body that is read before its handler runs; container specifications are a few KiB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for each connection; times in seconds."""

    head_bytes: int = 64 * 1024
    """Request line and header together. X-Registry-Config with many registries reaches some 10 KiB."""
    header_count: int = 128
    header_seconds: float = 10.0
    """From the first byte of a request to the end of its header."""
    idle_seconds: float = 600.0
    """Between two requests. Long, because docker-py and compose keep connections for their whole run."""
    body_pause_seconds: float = 60.0
    """Longest pause while a body is read before its handler; uploads that a handler reads itself have none."""
    handshake_seconds: float = 10.0
    drain_bytes: int = 1024 * 1024
    """An unread body up to this length is read and dropped to keep the connection; a longer one closes it."""
    linger_seconds: float = 2.0
    """How long a closing connection still reads, so that the client sees the answer and not a reset."""
    connections: int = 4096

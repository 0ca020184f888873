"""Reading from and writing to a plain socket, past the scheduler when no waiting is needed.

trio's own streams yield to other tasks after every call, also after one that could be answered at once. A request takes half a
dozen of them, and each turn of the scheduler costs as much as the call. Who uses these functions must yield elsewhere.
"""

import os

import trio


async def receive_some(sock: trio.socket.SocketType, max_bytes: int) -> tuple[bytes, bool]:
    """The next bytes, ``b""`` at the end of input, and whether other tasks had a turn. Raises trio.BrokenResourceError."""
    waited = False
    while True:
        try:
            return os.read(_descriptor(sock), max_bytes), waited
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            waited = True
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection is broken: {error}") from error


def send_now(sock: trio.socket.SocketType, data: bytes) -> int:
    """Send what the socket takes at once; returns how much that was. Raises trio.BrokenResourceError."""
    try:
        return os.write(_descriptor(sock), data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise trio.BrokenResourceError(f"the connection is broken: {error}") from error


def _descriptor(sock: trio.socket.SocketType) -> int:
    descriptor = sock.fileno()
    if descriptor < 0:
        raise trio.ClosedResourceError("the connection has been closed here")
    return descriptor

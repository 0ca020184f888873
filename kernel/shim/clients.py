"""Clients attached to a process: framing towards them, detach keys and half-close from them, and no more memory than agreed.

A client that does not read makes the process wait once `LIMIT` bytes are pending for it: nothing is lost, nothing grows (S42).
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from docket.kernel.shim.output import Past

LIMIT = 1 << 20
_READ = 65_536


class Detach:
    """Recognises the detach keys in a terminal's input; a first key is held back until the next byte tells."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """``(input to pass on, True when the keys are complete)``."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            if self._held == self._keys:
                return bytes(passed), True
            while not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
        return bytes(passed), False


class Client:
    """One attached connection."""

    def __init__(self, descriptor: int, settings: dict[str, object]) -> None:
        self.socket = _socket.socket(fileno=descriptor)
        self.socket.setblocking(False)
        self.stdin = bool(settings["stdin"])
        self._wants = {1: bool(settings["stdout"]), 2: bool(settings["stderr"])}
        self._multiplexed = bool(settings["multiplexed"])
        self._detach = Detach(bytes.fromhex(str(settings["detach_keys"])))
        self.early = bytes.fromhex(str(settings["early"]))
        self._pending = bytearray()
        self._later = bytearray()
        """What came while the past was still being sent."""
        self._past: Past | None = None
        self.gone = False

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def full(self) -> bool:
        return len(self._pending) + len(self._later) > LIMIT

    @property
    def pending(self) -> bool:
        return bool(self._pending) or self._past is not None

    def send_past(self, past: Past) -> None:
        """Send what the log holds before anything that is sent from now on."""
        self._past = past

    def send(self, stream: int, data: bytes) -> None:
        """Give the client a piece of output, or keep it until the client reads."""
        if self.gone:
            return
        self._frame(self._pending if self._past is None else self._later, stream, data)
        self.flush()

    def _frame(self, queue: bytearray, stream: int, data: bytes) -> None:
        if not self._wants[stream]:
            return
        if self._multiplexed:
            queue += bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big")
        queue += data

    def flush(self) -> None:
        """Send what is pending, as far as the client takes it."""
        try:
            while self._pending or self._past is not None:
                if not self._pending:
                    self._recall()
                    continue
                sent = self.socket.send(self._pending)
                del self._pending[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.gone = True
            self._pending.clear()
            self._forget_past()

    def _recall(self) -> None:
        """Queue the next pieces of the past, or, behind the last, what came meanwhile."""
        assert self._past is not None
        pieces = self._past.read()
        for stream, data in pieces:
            self._frame(self._pending, stream, data)
        if not pieces:
            self._forget_past()
            self._pending, self._later = self._later, self._pending

    def _forget_past(self) -> None:
        if self._past is not None:
            self._past.close()
            self._past = None

    def receive(self) -> tuple[bytes, bool]:
        """``(input, True at its end)``; marks the client gone when it detached or broke off."""
        if self.early:
            data, self.early = self.early, b""
        else:
            try:
                data = self.socket.recv(_READ)
            except BlockingIOError:
                return b"", False
            except OSError:
                self.gone = True
                return b"", True
            if not data:
                return b"", True
        passed, detached = self._detach.feed(data)
        if detached:
            self.gone = True
        return passed, False

    def close(self) -> None:
        self._forget_past()
        self.socket.close()

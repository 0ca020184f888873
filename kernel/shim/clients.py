"""Clients attached to a process: framing towards them, detach keys and half-close from them, and no more memory than agreed.

A client that does not read makes the process wait once `LIMIT` bytes are pending for it: nothing is lost, nothing grows (S42).
"""

from __future__ import annotations

import _socket

LIMIT = 1 << 20
_READ = 65_536


class Detach:
    """Recognises the detach keys in a terminal's input; a first key is held back until the next byte tells."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """``(input to pass on, True when the keys are complete)``."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(passed), True
                continue
            passed += self._keys[: self._matched]
            self._matched = 1 if byte == self._keys[0] else 0
            if not self._matched:
                passed.append(byte)
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
        self.gone = False

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def full(self) -> bool:
        return len(self._pending) > LIMIT

    @property
    def pending(self) -> bool:
        return bool(self._pending)

    def send(self, stream: int, data: bytes) -> None:
        """Give the client a piece of output, or keep it until the client reads."""
        if self.gone or not self._wants[stream]:
            return
        if self._multiplexed:
            self._pending += bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big")
        self._pending += data
        self.flush()

    def flush(self) -> None:
        """Send what is pending, as far as the client takes it."""
        try:
            while self._pending:
                sent = self.socket.send(self._pending)
                del self._pending[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.gone = True
            self._pending.clear()

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
        self.socket.close()

"""The user's terminal: raw mode and its restoration, size, and the keys that detach.

In raw mode every key goes to the container, so nobody but this module may leave the terminal in it: `Terminal` is a context
manager and restores whatever happens.
"""

from __future__ import annotations

import os
import termios

from docket.cli.errors import CliError
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


def size() -> tuple[int, int]:
    """Rows and columns of the terminal; zeros where there is none."""
    for descriptor in (1, 0):
        try:
            columns, rows = os.get_terminal_size(descriptor)
        except OSError:
            continue
        return rows, columns
    return 0, 0


class Terminal:
    """Standard input in raw mode inside a `with` block."""

    def __init__(self) -> None:
        self._saved: list[Any] | None = None

    def __enter__(self) -> Self:
        self._saved = termios.tcgetattr(0)
        raw = termios.tcgetattr(0)
        raw[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL
            | termios.IXON
        )  # fmt: skip
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[6] = list(raw[6])
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSANOW, raw)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSANOW, self._saved)


def parse_detach_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or `a,b` as the bytes that a terminal sends; raises CliError."""
    keys = bytearray()
    for name in text.split(","):
        if len(name) == 1 and name.isascii():
            keys += name.encode()
        elif name.startswith("ctrl-") and len(name) == 6 and 64 <= ord(name[5].upper()) <= 95:
            keys.append(ord(name[5].upper()) - 64)
        else:
            raise CliError(
                f'invalid detach keys "{printable(text)}": a key is a letter or ctrl-<letter>, keys are separated by commas'
            )
    return bytes(keys)


class DetachFilter:
    """Watches typed bytes for the detach keys. A first key is held back until the next byte tells what it was."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes on to the container, and whether the keys are complete."""
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(passed), True
                continue
            if self._matched:
                passed += self._keys[: self._matched]
                self._matched = 1 if byte == self._keys[0] else 0
                if self._matched:
                    continue
            passed.append(byte)
        return bytes(passed), False

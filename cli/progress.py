"""Progress messages on a terminal: one line for each layer, redrawn in place, with bytes and rate."""

from __future__ import annotations

import os
import time

from docket.cli.context import encode, write_all
from docket.cli.formatting import human_size
from docket.cli.sanitise import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BAR = 24
_REDRAW_SECONDS = 0.1


class Display:
    """Shows messages on the terminal behind a descriptor. Lines that no message names are printed once, above nothing."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._lines: dict[str, str] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._drawn = 0
        self._last = 0.0

    def show(self, message: dict[str, Any]) -> None:
        name, status = str(message.get("id") or ""), str(message.get("status") or "")
        if not status:
            return
        if not name or "progressDetail" not in message:
            self._draw()
            self._lines.clear()
            self._drawn = 0
            write_all(self._output, encode(printable(f"{name}: {status}" if name else status) + "\n"))
            return
        moves = bool(message["progressDetail"])
        self._lines[name] = f"{name}: {status}" + (self._amount(name, message["progressDetail"]) if moves else "")
        if not moves or time.monotonic() - self._last >= _REDRAW_SECONDS:
            self._draw()

    def finish(self) -> None:
        """Everything is shown as it is now."""
        self._draw()

    def _amount(self, name: str, detail: Any) -> str:
        current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
        now = time.monotonic()
        began, before = self._began.setdefault(name, (now, current))
        rate = f" {human_size(int((current - before) / (now - began)))}/s" if now > began else ""
        if total <= 0:
            return f" {human_size(current)}{rate}"
        done = min(current, total) * _BAR // total
        bar = ("=" * done + ">")[:_BAR].ljust(_BAR)
        return f" [{bar}] {human_size(current)}/{human_size(total)}{rate}"

    def _draw(self) -> None:
        self._last = time.monotonic()
        width = self._width()
        shown = [printable(line)[: width - 1] for line in self._lines.values()]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        write_all(self._output, encode(up + "".join(f"\r\x1b[2K{line}\n" for line in shown)))
        self._drawn = len(shown)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._output).columns or 80
        except OSError:
            return 80

"""Which lines of the code under test have run: cheap, because a function whose lines have all been seen is not watched any more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

Tracer = Callable[[FrameType, str, Any], Any]


class Coverage:
    """``watched`` are folders or files of the package, as in ``adapters/http/``. ``reached`` counts the lines seen."""

    def __init__(self, watched: tuple[str, ...]) -> None:
        self._watched = tuple(f"/docket/{name}" for name in watched)
        self._unseen: dict[CodeType, set[int]] = {}
        self.reached = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread meanwhile."""
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Tracer | None:
        unseen = self._unseen.get(frame.f_code)
        if unseen is None:
            unseen = self._unseen[frame.f_code] = self._lines(frame.f_code)
        return self._line if unseen else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Tracer:
        unseen = self._unseen[frame.f_code]
        if event == "line" and frame.f_lineno in unseen:
            unseen.discard(frame.f_lineno)
            self.reached += 1
        return self._line

    def _lines(self, code: CodeType) -> set[int]:
        if not any(name in code.co_filename for name in self._watched):
            return set()
        return {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}

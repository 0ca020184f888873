"""Where the last lines of a log begin, found by walking its records from the end."""

from __future__ import annotations

from docket.domain.output_log import RUN_BEGINS, unfinished_after


class TailWalk:
    """Takes records, newest first, until `done`: the last ``lines`` lines lie in what was taken, behind the first `skip` ones.

    ``ended`` says that the last run has ended, so that its unfinished lines count. A line that only began before what was taken so
    far keeps the walk going, as does one that is still being written: its rest is to come.
    """

    def __init__(self, lines: int, *, ended: bool) -> None:
        self._wanted = lines
        self._total = 0
        self._beginning: dict[int, int] = {}
        """The streams whose oldest line has its beginning further back, with the line's place from the end (0: unfinished)."""
        self._run_ended = ended
        self._at_end = True

    @property
    def done(self) -> bool:
        if self._at_end or self._total < self._wanted:
            return False
        return not any(place <= self._wanted for place in self._beginning.values())

    @property
    def skip(self) -> int:
        """How many of the lines found come before the wanted ones."""
        return max(self._total - self._wanted, 0)

    def take(self, stream: int, unfinished: int, data: bytes) -> None:
        """One more record."""
        if stream == RUN_BEGINS:
            self._beginning.clear()
            self._at_end = self._run_ended = True
            return
        if self._at_end:
            self._end_run(unfinished_after(stream, unfinished, data))
        count = data.count(b"\n")
        if count:
            self._total += count
            self._beginning[stream] = self._total
        if not unfinished & stream:
            self._beginning.pop(stream, None)

    def _end_run(self, unfinished: int) -> None:
        self._at_end = False
        for stream in (2, 1):
            if unfinished & stream:
                self._total += self._run_ended
                self._beginning[stream] = self._total if self._run_ended else 0

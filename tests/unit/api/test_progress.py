"""Docker's progress stream, message by message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from docket.adapters.api.progress import bar, encoded, progress_stream
from docket.adapters.http import Stream
from docket.domain.registry import RegistryError
from docket.domain.transferring import Progress, Step


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step("Pulling from x", "1"), {"status": "Pulling from x", "id": "1"}),
        (Step("Pull complete", "ab", moves=True), {"status": "Pull complete", "progressDetail": {}, "id": "ab"}),
        (
            Step("Downloading", "ab", 5, 10, moves=True),
            {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "progress": bar(5, 10), "id": "ab"},
        ),
        (
            Step("", tag="1", digest="sha256:a", size=7),
            {"progressDetail": {}, "aux": {"Tag": "1", "Digest": "sha256:a", "Size": 7}},
        ),
    ],
)  # fmt: skip
def test_steps_in_dockers_form(step: Step, message: dict[str, Any]) -> None:
    """With the fields that clients look for, and no others."""
    assert json.loads(encoded(step)) == message
    assert encoded(step).endswith(b"\r\n")


@pytest.mark.parametrize(
    ("current", "total", "drawn"),
    [
        (0, 10, "[>" + " " * 49 + "]       0B/10B"),
        (5_000_000, 10_000_000, "[" + "=" * 25 + ">" + " " * 24 + "]      5MB/10MB"),
        (10, 10, "[" + "=" * 50 + "]      10B/10B"),
        (12, 10, "[" + "=" * 50 + "]      12B/10B"),
    ],
)
def test_the_bar(current: int, total: int, drawn: str) -> None:
    """As dockerd draws it."""
    assert bar(current, total) == drawn


class FakeEngine:
    """Runs one job: it tells ``steps``, then fails with ``failure``, if any."""

    def __init__(self, nursery: trio.Nursery, steps: int, failure: Exception | None) -> None:
        self._nursery, self._steps, self._failure = nursery, steps, failure
        self.cancelled = False

    def spawn(self, work: Any, *arguments: Any) -> None:
        self._nursery.start_soon(work, *arguments)

    async def run(self, told: Progress) -> None:
        try:
            for number in range(self._steps):
                told(Step(f"step {number}"))
                await trio.lowlevel.checkpoint()
            if self._failure is not None:
                raise self._failure
        except trio.Cancelled:
            self.cancelled = True
            raise


@pytest.fixture
async def nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as opened:
        yield opened
        opened.cancel_scope.cancel()


class Out:
    def __init__(self) -> None:
        self.lines: list[Any] = []

    async def send(self, data: bytes) -> None:
        self.lines.append(json.loads(data))


async def streamed(engine: Any) -> list[Any]:
    answer = await progress_stream(engine, lambda told: told)  # type: ignore[arg-type, return-value]
    assert isinstance(answer, Stream)
    out = Out()
    await answer.write(out)
    return out.lines


async def test_a_failure_before_the_first_step_is_an_answer_of_its_own(nursery: trio.Nursery) -> None:
    """Clients act on its status."""
    with pytest.raises(RegistryError):
        await streamed(FakeEngine(nursery, 0, RegistryError("no", "not found")))


async def test_a_failure_afterwards_is_part_of_the_stream(nursery: trio.Nursery) -> None:
    """With both of the members that clients look at."""
    lines = await streamed(FakeEngine(nursery, 2, RegistryError("no")))
    assert lines == [{"status": "step 0"}, {"status": "step 1"}, {"errorDetail": {"message": "no"}, "error": "no"}]


async def test_a_job_that_says_nothing(nursery: trio.Nursery) -> None:
    """An empty stream."""
    assert await streamed(FakeEngine(nursery, 0, None)) == []


async def test_a_client_that_goes_away_ends_the_job(nursery: trio.Nursery) -> None:
    """As ctrl-c on docker pull does."""
    engine = FakeEngine(nursery, 1_000_000, None)
    answer = await progress_stream(engine, lambda told: told)  # type: ignore[arg-type, return-value]
    assert isinstance(answer, Stream)

    class Gone:
        async def send(self, data: bytes) -> None:
            raise trio.BrokenResourceError

    with pytest.raises(trio.BrokenResourceError):
        await answer.write(Gone())
    await trio.testing.wait_all_tasks_blocked()
    assert engine.cancelled

"""A sample event and helpers for the tests of the SQLite store; they arrive as fixtures, since tests are no package."""

from collections.abc import Callable

import pytest
import trio

from docket.domain.log import Batch, Event, Metadata
from docket.event_store.codec import Codec
from docket.event_store.sqlite import SqliteEventStore


class Noted(Event, frozen=True):
    """Text in a stream."""

    name: str
    text: str = ""

    @property
    def stream(self) -> str:
        return self.name


@pytest.fixture
def codec() -> Codec:
    """Know the sample event."""
    return Codec([Noted])


@pytest.fixture
def noted() -> Callable[..., Batch]:
    """Make a batch of sample events: ``noted("stream text", …, secrets={…})``."""

    def make(*events: str, secrets: dict[str, bytes] | None = None) -> Batch:
        return Batch(tuple(Noted(*event.split(" ", 1)) for event in events), Metadata(5, "j1", "uid=0"), secrets or {})

    return make


@pytest.fixture
def append() -> Callable[..., None]:
    """Append batches outside a trio test, each in a commit of its own."""

    def run(store: SqliteEventStore, *batches: Batch) -> None:
        async def work() -> None:
            for batch in batches:
                await store.append(batch)

        trio.run(work)

    return run

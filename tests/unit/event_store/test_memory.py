"""What the memory store has beside the contract: a disk that can be declared full."""

from collections.abc import Callable

import pytest

from docket.domain.errors import StoreFailed
from docket.domain.log import Batch
from docket.event_store.codec import Codec
from docket.event_store.memory import MemoryEventStore


async def test_a_full_memory_refuses_like_a_full_disk(codec: Codec, noted: Callable[..., Batch]) -> None:
    """Nothing is kept, the generation changes, and appends work again when there is space."""
    store = MemoryEventStore(codec)
    await store.append(noted("a"))
    store.full = True
    with pytest.raises(StoreFailed, match="nothing of it was kept"):
        await store.append(noted("a", secrets={"r": b"x"}))
    assert (store.head(), store.generation, store.secret("r")) == (1, 1, None)
    store.full = False
    (stored,) = await store.append(noted("a"))
    assert (stored.position, stored.version) == (2, 2)
    assert store.verify().events == 2

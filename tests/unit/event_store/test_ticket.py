"""The receipt for a submitted batch."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from docket.domain.errors import StoreFailed
from docket.event_store.ticket import Ticket


async def test_waiting_ends_when_the_store_settles() -> None:
    """Not earlier, and for everybody."""
    ticket = Ticket([])
    ended: list[int] = []

    async def wait(number: int) -> None:
        await ticket.durable()
        ended.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 1)
        nursery.start_soon(wait, 2)
        await wait_all_tasks_blocked()
        assert ended == []
        ticket.settle()
    assert sorted(ended) == [1, 2]


async def test_a_refusal_is_raised_to_everybody() -> None:
    """Also to who asks later."""
    ticket = Ticket([])
    ticket.settle(StoreFailed("full"))
    for _ in range(2):
        with pytest.raises(StoreFailed, match="full"):
            await ticket.durable()

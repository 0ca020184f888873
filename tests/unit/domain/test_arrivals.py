"""Clients on their way to a container, and the start that waits for them."""

from __future__ import annotations

import trio
import trio.testing

from docket.domain.arrivals import Arrivals


async def test_a_start_waits_for_the_clients_of_its_own_container(autojump_clock: trio.testing.MockClock) -> None:
    """Not for those of others, and not when nobody is on the way."""
    arrivals, order = Arrivals(), []

    async def client() -> None:
        with arrivals.coming("one"):
            await trio.sleep(1)
            order.append("attached")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        await trio.testing.wait_all_tasks_blocked()
        await arrivals.arrived("other")
        order.append("other started")
        await arrivals.arrived("one")
        order.append("one started")
    assert order == ["other started", "attached", "one started"]


async def test_a_client_that_stands_still_is_not_waited_for_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    """The container starts in the end."""
    arrivals = Arrivals()
    with arrivals.coming("one"):
        await arrivals.arrived("one")
    assert trio.current_time() > 0

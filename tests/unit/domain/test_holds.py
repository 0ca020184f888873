"""Holds: a start waits until nothing is copied any more."""

from __future__ import annotations

import trio
import trio.testing

from docket.domain.holds import Holds


def test_who_waits_goes_on_when_the_last_hold_ends() -> None:
    """Several may hold; nobody waits for what is not held."""
    told: list[str] = []

    async def main() -> None:
        holds = Holds()

        async def wait() -> None:
            await holds.free("c")
            told.append("free")

        async with trio.open_nursery() as nursery:
            with holds.held("c"):
                with holds.held("c"):
                    nursery.start_soon(wait)
                    await holds.free("other")
                    await trio.testing.wait_all_tasks_blocked()
                await trio.testing.wait_all_tasks_blocked()
                told.append("held")
        with holds.held("c"):
            told.append("again")

    trio.run(main)
    assert told == ["held", "free", "again"]

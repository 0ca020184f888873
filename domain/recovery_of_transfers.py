"""Pulls and pushes that the last engine did not end: nothing of them can be seen, so they failed. What was fetched is kept."""

from __future__ import annotations

from docket.domain.engine import Engine
from docket.domain.log import Event
from docket.domain.model.transfer import events

_REASON = "the engine ended before the transfer did"


def interrupted_transfers(engine: Engine) -> list[Event]:
    """The outcome of each open transfer."""
    return [
        events.ImagePushFailed(each.id, _REASON) if each.push else events.ImagePullFailed(each.id, _REASON)
        for each in engine.state.transfers.values()
    ]

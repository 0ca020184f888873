"""How events change a transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docket.domain.model.transfer import events
from docket.domain.model.transfer.state import Transfer

if TYPE_CHECKING:
    from docket.domain.model.state import EngineState

_OUTCOMES = (events.ImagePulled, events.ImagePullFailed, events.ImagePushed, events.ImagePushFailed)


def evolve(state: EngineState, event: events.TransferEvent, time_ns: int) -> None:
    """Fold one transfer event into the state."""
    if isinstance(event, events.ImagePulling | events.ImagePushing):
        state.transfers[event.transfer] = Transfer(event.transfer, event.reference, isinstance(event, events.ImagePushing))
    elif isinstance(event, _OUTCOMES):
        state.transfers.pop(event.transfer, None)
    elif isinstance(event, events.LayerFetched | events.LayerPushed):
        transfer = state.transfers.get(event.transfer)
        if transfer is not None:
            transfer.layers += 1

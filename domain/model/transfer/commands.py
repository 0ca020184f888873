"""What can be asked of a transfer."""

from __future__ import annotations

import msgspec

from docket.domain.model.image.events import ImageImported


class CompletePull(msgspec.Struct, frozen=True):
    """The image ``imported`` is whole on disk; ``digest`` is what the reference named at the registry."""

    transfer: str
    imported: ImageImported
    reference: str
    digest: str


TransferCommand = CompletePull
"""What becomes of a command on a transfer."""

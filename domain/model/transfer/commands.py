"""What can be asked of a transfer."""

from __future__ import annotations

import msgspec

from docket.domain.model.image.events import ImageImported


class CompletePull(msgspec.Struct, frozen=True):
    """The image ``imported`` is whole on disk. ``tag`` is its new name, empty when it was pulled by digest.

    ``repository_digest`` is the repository with the digest that the reference had at the registry.
    """

    transfer: str
    imported: ImageImported
    reference: str
    tag: str
    repository_digest: str


class CompletePush(msgspec.Struct, frozen=True):
    """The registry has all of ``image`` under ``reference``, and ``repository_digest`` names it there."""

    transfer: str
    reference: str
    image: str
    repository_digest: str
    size: int


TransferCommand = CompletePull | CompletePush
"""What becomes of a command on a transfer."""

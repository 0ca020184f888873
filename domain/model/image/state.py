"""What an image is."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from docket.domain.model.image import events
from docket.domain.model.image.events import ImageDefaults


class ImageStatus(StrEnum):
    PRESENT = "present"
    REMOVING = "removing"


TRANSITIONS: dict[ImageStatus, dict[type[events.ImageEvent], ImageStatus]] = {
    ImageStatus.PRESENT: {
        events.ImageImported: ImageStatus.PRESENT,
        events.ImageTagged: ImageStatus.PRESENT,
        events.ImageUntagged: ImageStatus.PRESENT,
        events.ImageRemoving: ImageStatus.REMOVING,
    },
    ImageStatus.REMOVING: {events.ImageImported: ImageStatus.PRESENT},
}
"""What each status allows; `ImageRemoved` ends the image."""


class Image(msgspec.Struct):
    """The folded state of one image. Only `evolve` writes to it."""

    id: str
    manifest: str
    layers: tuple[str, ...]
    size: int
    defaults: ImageDefaults
    imported_ns: int
    architecture: str = ""
    operating_system: str = "linux"
    created: str = ""
    author: str = ""
    comment: str = ""
    source: str = ""
    references: list[str] = []
    status: ImageStatus = ImageStatus.PRESENT
    tagged_ns: int = 0

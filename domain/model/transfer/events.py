"""What can happen to a transfer. Its id is that of the job; no credential is ever part of it."""

from __future__ import annotations

from typing import ClassVar

from docket.domain.log import Event


class TransferEvent(Event, frozen=True, gc=False):
    """An event of the stream ``transfer-<id>``."""

    transfer: str

    @property
    def stream(self) -> str:
        return f"transfer-{self.transfer}"


class ImagePulling(TransferEvent, frozen=True, gc=False, omit_defaults=True):
    """Intent: the image that ``reference`` means at its registry is about to be fetched. ``platform`` is empty for the host's."""

    opens_stream: ClassVar[bool] = True

    reference: str
    platform: str = ""


class ManifestResolved(TransferEvent, frozen=True, gc=False):
    """The registry said what the reference means: an image of ``layers`` layers. ``digest`` is what it names, maybe an index."""

    digest: str
    manifest: str
    layers: int


class LayerFetched(TransferEvent, frozen=True, gc=False):
    """A layer is on disk and unpacked. ``digest`` and ``size`` are those of the blob, ``chain`` names the stack that it tops."""

    digest: str
    size: int
    diff_id: str
    chain: str


class ImagePulled(TransferEvent, frozen=True, gc=False):
    """The image is whole and has its name. ``digest`` is what the reference named at the registry."""

    reference: str
    image: str
    digest: str


class ImagePullFailed(TransferEvent, frozen=True, gc=False):
    """Nothing of the image can be seen. Layers that were fetched are kept for the next try."""

    reason: str


class ImagePushing(TransferEvent, frozen=True, gc=False):
    """Intent: ``image`` is about to be sent to the registry of ``reference``."""

    opens_stream: ClassVar[bool] = True

    reference: str
    image: str


class LayerPushed(TransferEvent, frozen=True, gc=False):
    """The registry has the blob. ``how`` is ``uploaded``, ``mounted from NAME``, or ``known`` where it had it before."""

    digest: str
    size: int
    how: str


class ImagePushed(TransferEvent, frozen=True, gc=False):
    """The reference means this image at the registry now."""

    reference: str
    image: str
    digest: str
    size: int


class ImagePushFailed(TransferEvent, frozen=True, gc=False):
    """The reference means at the registry what it meant before."""

    reason: str


EVENTS: tuple[type[TransferEvent], ...] = (
    ImagePulling,
    ManifestResolved,
    LayerFetched,
    ImagePulled,
    ImagePullFailed,
    ImagePushing,
    LayerPushed,
    ImagePushed,
    ImagePushFailed,
)

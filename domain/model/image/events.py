"""What can happen to an image."""

from __future__ import annotations

import msgspec

from docket.domain.log import Event
from docket.domain.oci.manifest import OCI_MANIFEST


class ImageDefaults(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an image config says about the containers made from it."""

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_directory: str = ""
    user: str = ""
    labels: dict[str, str] = {}
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""


class ImageEvent(Event, frozen=True, gc=False):
    """An event of the stream ``image-<id>``."""

    image: str

    @property
    def stream(self) -> str:
        return f"image-{self.image.removeprefix('sha256:')}"


class ImageImported(ImageEvent, frozen=True, gc=False, omit_defaults=True):
    """The image is whole in the content store and its layers are unpacked. ``image`` is the digest of its config."""

    manifest: str
    layers: tuple[str, ...]
    """Diff ids, lowest first."""
    size: int
    defaults: ImageDefaults
    architecture: str = ""
    operating_system: str = "linux"
    created: str = ""
    author: str = ""
    comment: str = ""
    source: str = ""
    variant: str = ""
    manifest_type: str = OCI_MANIFEST
    """The media type under which the manifest is read."""
    origin: str = "import"
    """The job that brought it: import, load, pull or commit."""


class ImageTagged(ImageEvent, frozen=True, gc=False):
    """``reference`` means this image from now on, and no other."""

    reference: str


class ImageDigestLearned(ImageEvent, frozen=True, gc=False):
    """A registry has the image under ``reference``, a repository with a digest, which means this image from now on."""

    reference: str


class ImageUntagged(ImageEvent, frozen=True, gc=False):
    """``reference``, a tag or a repository's digest, means the image no more."""

    reference: str


class ImageLoaded(ImageEvent, frozen=True, gc=False):
    """The image came out of an archive, for the first time or again."""


class ImageSaved(ImageEvent, frozen=True, gc=False):
    """The image was written into an archive, whole."""


class ImageRemoving(ImageEvent, frozen=True, gc=False):
    """Intent: the image's blobs and layers, as far as nothing else needs them, are about to be deleted."""


class ImageRemoved(ImageEvent, frozen=True, gc=False):
    pass


EVENTS: tuple[type[ImageEvent], ...] = (
    ImageImported,
    ImageTagged,
    ImageDigestLearned,
    ImageUntagged,
    ImageLoaded,
    ImageSaved,
    ImageRemoving,
    ImageRemoved,
)

"""What can be asked of an image. References are normalised (``docker.io/library/busybox:latest``)."""

from __future__ import annotations

import msgspec

from docket.domain.model.image.events import ImageImported


class AddImage(msgspec.Struct, frozen=True):
    """The image described by ``imported`` is complete on disk; tag it with ``reference`` unless that is empty.

    ``repository_digest`` is the repository with the digest (of a manifest or an index) that a registry has it under, if any.
    """

    imported: ImageImported
    reference: str = ""
    repository_digest: str = ""


class LoadImage(msgspec.Struct, frozen=True):
    """The image described by ``imported`` came out of an archive, where it had the names ``references``."""

    imported: ImageImported
    references: tuple[str, ...] = ()


class TagImage(msgspec.Struct, frozen=True):
    image: str
    reference: str


class LearnDigest(msgspec.Struct, frozen=True):
    """A registry has the image under ``repository_digest``: it was pushed there."""

    image: str
    repository_digest: str


class PruneImages(msgspec.Struct, frozen=True):
    """Remove those of ``images`` that no container uses, and that have no tag unless it is ``tagged`` ones too."""

    images: tuple[str, ...]
    tagged: bool = False


class RemoveImage(msgspec.Struct, frozen=True):
    """``rmi``: untag a reference, and remove the image when nothing names it any more."""

    image: str
    force: bool = False


ImageCommand = AddImage | LoadImage | TagImage | LearnDigest | PruneImages | RemoveImage

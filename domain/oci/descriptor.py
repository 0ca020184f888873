"""Descriptors: pointers to content by media type, digest and size (OCI image-spec, ``descriptor.md``)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from docket.domain.oci.digest import DigestField

REF_NAME_ANNOTATION = "org.opencontainers.image.ref.name"
"""The annotation under which an OCI image layout keeps a reference's name; skopeo's ``oci:dir:name`` looks for it."""

Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Platform(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"os_version": "os.version", "os_features": "os.features"}
):
    """The machine that an image was built for, in Go's names (``amd64``, ``linux``)."""

    architecture: str
    os: str
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A pointer to content. Nothing is read without both its digest and its size being checked."""

    media_type: str
    digest: DigestField
    size: Size
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    data: str = ""
    artifact_type: str = ""
    platform: Platform | None = None

    @property
    def reference_name(self) -> str:
        """The name that an image layout's index gives to this content; empty if none."""
        return self.annotations.get(REF_NAME_ANNOTATION, "")

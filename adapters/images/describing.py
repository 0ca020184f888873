"""What the log keeps of an image config: as much as creating containers and listing images needs."""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.model.image.events import ImageDefaults, ImageImported
from docket.domain.oci.digest import Digest
from docket.domain.oci.image_config import ExecutionParameters, ImageConfig
from docket.domain.oci.manifest import OCI_MANIFEST


def describe(
    image: Digest,
    config: ImageConfig,
    manifest: Digest,
    size: int,
    *,
    media_type: str = OCI_MANIFEST,
    origin: str = "import",
    source: str = "",
) -> ImageImported:
    """The event that says that the image is whole. ``media_type`` is the manifest's, ``origin`` the job that brought it."""
    return ImageImported(
        image=str(image),
        manifest=str(manifest),
        layers=tuple(str(diff_id) for diff_id in config.rootfs.diff_ids),
        size=size,
        defaults=_defaults(config.config),
        architecture=config.architecture,
        operating_system=config.os,
        created=config.created or "",
        author=config.author or "",
        comment=config.history[-1].comment if config.history else "",
        source=source,
        variant=config.variant,
        manifest_type=media_type,
        origin=origin,
    )


def _defaults(parameters: ExecutionParameters) -> ImageDefaults:
    return ImageDefaults(
        entrypoint=_words(parameters.entrypoint),
        command=_words(parameters.cmd),
        environment=tuple(parameters.env or ()),
        working_directory=parameters.working_dir or "",
        user=parameters.user or "",
        labels=dict(parameters.labels or {}),
        exposed_ports=tuple(parameters.exposed_ports or ()),
        volumes=tuple(parameters.volumes or ()),
        stop_signal=parameters.stop_signal or "",
    )


def _words(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)

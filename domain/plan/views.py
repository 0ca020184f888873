"""What is mounted so that the files of a container that does not run can be looked at: its root, and what it binds.

Docker mounts the same for ``cp``: the writable layer over the image's, and the host's directories where the container has them.
The kernel's filesystems and tmpfs are not there, they live and die with the container's processes.
"""

from __future__ import annotations

import msgspec

from docket.domain.model.container.spec import ContainerSpec
from docket.domain.plan import operations as op
from docket.domain.plan.rootfs import GENERATED, user_mounts
from docket.domain.plan.settings import Places

PLACEHOLDERS = frozenset(
    {"dev", "dev/console", "dev/mqueue", "dev/pts", "dev/shm", "proc", "sys", *(f"etc/{name}" for name in GENERATED)}
)
"""What a start makes in the writable layer to mount on, where the image has it not. It is not the container's doing: Docker has
it in a layer of its own below the container's."""


def writable(container: str, spec: ContainerSpec, lowerdirs: tuple[str, ...], places: Places) -> tuple[op.AnyOperation, ...]:
    """The container's root as it would have it, to be read and written while the container does not run."""
    lasting = places.container(container)
    binds = tuple(msgspec.structs.replace(mount, propagation="rprivate") for mount in spec.mounts if mount.kind == "bind")
    return (
        *_directories(lasting),
        op.Mount("", "/", "", ("REC", "SLAVE")),
        op.MountOverlay(lowerdirs, f"{lasting}/upper", f"{lasting}/work", places.rootfs),
        op.EnterRoot(places.rootfs),
        *user_mounts(binds),
        *((op.SetReadOnly("/"),) if spec.readonly_rootfs else ()),
    )


def readable(container: str, lowerdirs: tuple[str, ...], places: Places) -> tuple[op.AnyOperation, ...]:
    """The container's root alone, read-only: the writable layer is the top-most of the layers that are only read."""
    lasting = places.container(container)
    return (
        *_directories(lasting),
        op.Mount("", "/", "", ("REC", "SLAVE")),
        op.MountOverlay((f"{lasting}/upper", *lowerdirs), "", "", places.rootfs),
        op.EnterRoot(places.rootfs),
    )


def _directories(lasting: str) -> tuple[op.AnyOperation, ...]:
    """A container that has never started has no writable layer yet."""
    return (
        op.MakeDirectory(lasting, 0o710, lasting=True),
        op.MakeDirectory(f"{lasting}/upper", 0o755, lasting=True),
        op.MakeDirectory(f"{lasting}/work", 0o700, lasting=True),
    )

"""Files of containers: the port through which jobs look at them and copy them, and the values that cross it.

Whatever a container renames or links meanwhile, nothing outside its root is read or written (S17), and nothing of its image is
executed or loaded (S18): an implementation holds on to descriptors, and looks every name up beneath them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

import msgspec

from docket.domain.plan.operations import AnyOperation
from docket.domain.ports import ProcessIdentity


class ContainerTree(msgspec.Struct, frozen=True):
    """Where the files of a container are, and how its root is put together for a look at them."""

    container: str
    reference: str
    """What the caller calls the container; Docker's texts repeat it."""
    process: ProcessIdentity | None
    """Whose root is looked at; None while the container does not run."""
    view: tuple[AnyOperation, ...]
    """What makes one tree of it then."""
    upperdir: str
    lowerdirs: tuple[str, ...]
    """Top-most first."""
    placeholders: frozenset[str] = frozenset()
    mounts: tuple[str, ...] = ()
    """The targets of what the user mounted."""
    user: str = ""


class FileChange(msgspec.Struct, frozen=True):
    """How a path differs from the image's. ``kind`` is Docker's: 0 modified, 1 added, 2 deleted."""

    path: str
    kind: int


class PathStat(msgspec.Struct, frozen=True):
    """What a path in a container is. ``mode`` has the bits of Go's `os.FileMode`."""

    name: str
    size: int
    mode: int
    mtime_ns: int
    link_target: str = ""
    """Where a symbolic link leads in the end, as far as that exists."""


class Extraction(msgspec.Struct, frozen=True):
    """How an archive is put into a container."""

    keep_kinds: bool = False
    """Refuse to replace a directory by something else, and the other way round."""
    as_user: bool = False
    """Everything belongs to the container's user, if it has one."""


class View(Protocol):
    """A container's root while somebody looks at it."""

    root: int
    """A descriptor of it; names are looked up beneath it and nowhere else."""

    def close(self) -> None: ...


class Views(Protocol):
    """Opens the roots of containers for the engine. Blocking."""

    def of_process(self, identity: ProcessIdentity, *, alone: bool = False) -> View:
        """The root of a process, ``alone``: without what is mounted on it. Raises `KernelError` ESRCH when it has ended."""
        ...

    def of_plan(self, operations: Sequence[AnyOperation]) -> View:
        """What the operations mount, for this view only. Raises `KernelError`."""
        ...


class ContainerFiles(Protocol):
    """Looks at files of containers, and copies them. Raises `Rejected` with Docker's texts, and `PortError`."""

    async def changes(self, tree: ContainerTree) -> tuple[FileChange, ...]:
        """What the writable layer changes of the image, by path."""
        ...

    async def stat(self, tree: ContainerTree, path: str) -> PathStat: ...

    def read(self, tree: ContainerTree, path: str) -> AsyncGenerator[bytes, None]:
        """A tar archive of a file, or of a directory with all in it."""
        ...

    def export(self, tree: ContainerTree) -> AsyncGenerator[bytes, None]:
        """A tar archive of the whole root, without what is mounted on it."""
        ...

    async def write(self, tree: ContainerTree, path: str, chunks: AsyncIterator[bytes], how: Extraction) -> None:
        """Unpack an archive, which may be compressed, into the directory ``path``."""
        ...

"""Unpacked layers, one directory for each chain id, ready to be an overlay's lower directories.

    layers/<hex of the chain id>/      complete and durable; its attributes and devices mean what overlayfs takes them for
    layers/.active-<random>/           being unpacked; thrown away at the next start
    trash/<random>                     removed, being deleted

A layer appears by a rename, after one syncfs for all its files; it disappears by a rename too, so that nobody sees half of one.
Deleting happens in the trash, with descriptors, never across a mount or through a link (S16, S20). Needs root. Disk errors
leave as `KernelError`.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from docket.adapters.images import disk
from docket.adapters.images.errors import disk_error, disk_errors
from docket.adapters.images.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from docket.adapters.images.remove_tree import remove_tree
from docket.adapters.images.unpack import OPAQUE_XATTR
from docket.domain.errors import Unavailable
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import Digest, hex_of, parse_digest

_ACTIVE = ".active-"
_LAYER_MODE = 0o755
"""Of a layer's own root: it is the container's ``/`` unless the archive says otherwise. Its parent keeps strangers out."""


class ActiveLayer:
    """A layer while it is unpacked. ``descriptor`` is its directory."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        self.committed = False


class OverlaySnapshotter:
    """The layers below the data root ``path``, which must exist."""

    def __init__(self, path: str) -> None:
        self.path = path
        with disk_errors("open the layers"):
            self._layers = disk.make_directory(os.fsencode(path) + b"/layers")
            self._trash = disk.make_directory(os.fsencode(path) + b"/trash")
            for name in os.listdir(self._layers):
                if name.startswith(_ACTIVE):
                    self._discard(self._layers, name)

    def close(self) -> None:
        """Closes the directories; the snapshotter must not be used afterwards."""
        os.close(self._layers)
        os.close(self._trash)

    @contextmanager
    def prepare(self) -> Iterator[ActiveLayer]:
        """Gives an empty directory to unpack a layer into. Leaving without `commit` throws it away."""
        name = _ACTIVE + secrets.token_hex(16)
        with disk_errors("prepare a layer"):
            active = ActiveLayer(disk.make_directory(name, _LAYER_MODE, self._layers, durable=False), name)
        try:
            yield active
        finally:
            os.close(active.descriptor)
            if not active.committed:
                self._delete(self._discard(self._layers, name))

    def commit(self, active: ActiveLayer, chain_id: Digest) -> None:
        """Makes the layer durable and visible as ``chain_id``. One that is there already stays, and this one is thrown away."""
        with disk_errors("commit a layer"):
            disk.syncfs(active.descriptor)
            try:
                os.rename(active.name, hex_of(chain_id), src_dir_fd=self._layers, dst_dir_fd=self._layers)
            except OSError:
                if not self.has(chain_id):
                    raise
                os.fsync(self._layers)  # another thread may have only just given it its name
                return
            active.committed = True
            try:
                os.fsync(self._layers)
            except OSError:
                # The name may be gone after a power cut, and a second fsync would not tell: the next one begins from the start.
                self._discard(self._layers, hex_of(chain_id))
                raise

    def has(self, chain_id: Digest) -> bool:
        """Whether the layer is there, complete."""
        with disk_errors("look for a layer"):
            try:
                os.stat(hex_of(chain_id), dir_fd=self._layers, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def layer_path(self, chain_id: Digest) -> str:
        """The directory that the layer has, or would have."""
        return f"{self.path}/layers/{hex_of(chain_id)}"

    def lowerdirs(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """Returns the directories of an image's layers, top-most first, from its diff ids, lowest first.

        Layers below one whose root is opaque are left out, because the kernel ignores that mark on an overlay's root.
        Raises `Unavailable` if one is missing.
        """
        found: list[str] = []
        for chain_id in reversed(chain_ids([parse_digest(diff_id) for diff_id in diff_ids])):
            path = self.layer_path(chain_id)
            found.append(path)
            try:
                if os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y":
                    break
            except FileNotFoundError as error:
                raise Unavailable(f"layer {chain_id} is not unpacked: remove the image and import it again") from error
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                    raise disk_error("read a layer's attributes", error) from error
        return tuple(found)

    def chain_ids(self) -> list[Digest]:
        """Every layer that is there, sorted."""
        with disk_errors("list layers"):
            names = os.listdir(self._layers)
        return [parse_digest(f"sha256:{name}") for name in sorted(names) if not name.startswith(".")]

    def remove(self, chain_id: Digest) -> bool:
        """Removes a layer and deletes it; False if it was not there.

        Raises `KernelError` if it is gone from its place and something (a mount) keeps it from being deleted in the trash.
        """
        with disk_errors("remove a layer"):
            try:
                trashed = self._discard(self._layers, hex_of(chain_id))
            except FileNotFoundError:
                return False
            os.fsync(self._layers)
        self._delete(trashed)
        return True

    def move_to_trash(self, path: str) -> None:
        """Takes a directory of the data root out of sight in one step; one that is gone already is fine."""
        with disk_errors("remove a directory"), suppress(FileNotFoundError):
            parent, name = os.path.split(path)
            directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._discard(directory, name)
                os.fsync(self._trash)
            finally:
                os.close(directory)

    def empty_trash(self) -> list[str]:
        """Deletes what lies in the trash; returns why some of it could not be deleted (a mount, above all)."""
        blocked: list[str] = []
        for name in os.listdir(self._trash):
            try:
                remove_tree(self._trash, os.fsencode(name))
            except FileNotFoundError:
                continue  # another thread deletes it
            except OSError as error:
                blocked.append(f"{self.path}/trash/{name}: {error.strerror}")
        return blocked

    def size(self, chain_id: Digest) -> int:
        """Adds up the lengths of the layer's files, each file once however many names it has."""
        with disk_errors("measure a layer"):
            root = openat2(self._layers, hex_of(chain_id).encode(), os.O_RDONLY | os.O_DIRECTORY, _BENEATH)
            return _tree_size(root)

    def _discard(self, directory: int, name: str) -> str:
        trashed = secrets.token_hex(16)
        os.rename(name, trashed, src_dir_fd=directory, dst_dir_fd=self._trash)
        return trashed

    def _delete(self, trashed: str) -> None:
        with disk_errors(f"delete {self.path}/trash/{trashed}"):
            remove_tree(self._trash, trashed.encode())


_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV


def directory_size(path: str) -> int:
    """Adds up the lengths of the files below ``path``, which is the engine's own; 0 if it is not there. Raises `KernelError`."""
    with disk_errors(f"measure {path}"):
        try:
            root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        return _tree_size(root)


def _tree_size(root: int) -> int:
    """The sum over a tree; takes over the descriptor."""
    sizes: dict[int, int] = {}
    try:
        for _, _, files, directory in os.fwalk(".", dir_fd=root, follow_symlinks=False):
            for name in files:
                try:
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a running container removed it meanwhile
                if stat.S_ISREG(status.st_mode):
                    sizes[status.st_ino] = status.st_size
    finally:
        os.close(root)
    return sum(sizes.values())

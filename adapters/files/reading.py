"""Archives out of a container: a file, a directory, or the whole root, as Docker names the members.

Read as `docket.adapters.images.pack` reads, by descriptors beneath the root. What the kernel makes up is left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator

from docket.adapters.files.looking import Foreign, Name, look_for_files, parent_of, refusal
from docket.adapters.images.errors import disk_errors
from docket.adapters.images.pack import FILES, Packing, pack_one, pack_tree
from docket.domain.container_files import ContainerTree, View
from docket.domain.pieces import gathered

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def archive_of(view: View, name: Name, tree: ContainerTree) -> Generator[bytes, None, None]:
    """Yields the archive of what the name means; the view is closed with the generator. Raises `Rejected`, `PortError`."""
    try:
        with disk_errors("read the container's files"):
            descriptor = look_for_files(view.root, name, tree)
            try:
                packing = Packing(is_foreign=Foreign())
                if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    directory = os.open(b".", _LIST, dir_fd=descriptor)
                    try:
                        yield from gathered(pack_tree(directory, packing, name.base))
                    finally:
                        os.close(directory)
                else:
                    yield from gathered(_file(view, name, tree, packing))
            finally:
                os.close(descriptor)
    finally:
        view.close()


def _file(view: View, name: Name, tree: ContainerTree, packing: Packing) -> Generator[bytes, None, None]:
    try:
        parent = parent_of(view.root, name)
    except OSError as error:
        raise refusal(error, name, tree) from error
    try:
        yield from pack_one(parent, name.parts[-1], packing, name.base)
    finally:
        os.close(parent)


def archive_of_root(view: View) -> Generator[bytes, None, None]:
    """Yields the archive of the whole root; the view is closed with the generator. Raises `PortError`."""
    try:
        with disk_errors("read the container's files"):
            root = os.open(b".", _LIST, dir_fd=view.root)
            try:
                yield from gathered(pack_tree(root, FILES))
            finally:
                os.close(root)
    finally:
        view.close()

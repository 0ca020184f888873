"""Files, directories, links and nodes in memory, and overlays of directories.

An inode is an object, and its identity is what a mount covers. A `Directory` is asked by name only, so that a
`MergedDirectory`, which shows the entries of many, can stand in its place; a change of a merged directory goes to its
upper-most one, as in overlayfs: copied up on write, a 0:0 character device as whiteout.

Nothing here resolves a path: that needs the mounts, and is `docket.kernel.fake.mounts`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from docket.kernel.fake.linux_errno import EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, EROFS, CallFailed

EXECUTABLE = 0o111


@dataclass(eq=False)
class Inode:
    """What all kinds share."""

    mode: int
    uid: int = field(default=0, kw_only=True)
    gid: int = field(default=0, kw_only=True)


@dataclass(eq=False)
class File(Inode):
    """A regular file. ``read`` and ``write`` make it one of the kernel's own, whose content is computed for its reader."""

    content: bytes = b""
    read: Callable[[object], bytes] | None = None
    write: Callable[[object, bytes], None] | None = None


@dataclass(eq=False)
class Link(Inode):
    target: str = ""


@dataclass(eq=False)
class Node(Inode):
    """A device node; ``kind`` is ``c`` or ``b``."""

    kind: str = "c"
    major: int = 0
    minor: int = 0

    @property
    def whiteout(self) -> bool:
        """Whether overlayfs takes it for a deleted entry."""
        return (self.kind, self.major, self.minor) == ("c", 0, 0)


@dataclass(eq=False)
class Directory(Inode):
    """A directory with entries of its own. ``opaque`` hides the lower directories of an overlay."""

    entries: dict[str, Inode] = field(default_factory=dict)
    opaque: bool = False

    def names(self) -> list[str]:
        """The names of all entries, sorted."""
        return sorted(self.entries)

    def lookup(self, name: str) -> Inode | None:
        """The entry with this name, or None."""
        return self.entries.get(name)

    def insert(self, name: str, inode: Inode) -> None:
        """Add an entry. Raises `CallFailed` EEXIST."""
        if self.lookup(name) is not None:
            raise CallFailed("open", EEXIST, name)
        self.entries[name] = inode

    def remove(self, name: str) -> None:
        """Remove an entry. Raises `CallFailed` ENOENT, or ENOTEMPTY for a directory that is not empty."""
        inode = self.lookup(name)
        if inode is None:
            raise CallFailed("unlink", ENOENT, name)
        if isinstance(inode, Directory) and inode.names():
            raise CallFailed("rmdir", ENOTEMPTY, name)
        self._take(name)

    def replace(self, name: str, inode: Inode) -> None:
        """Put an inode in the place of an existing one: a write to a file."""
        self.entries[name] = inode

    def _take(self, name: str) -> None:
        del self.entries[name]


class MergedDirectory(Directory):
    """A directory of an overlay: ``layers`` top-most first, of which the first is the upper one when ``writable``."""

    def __init__(self, layers: list[Directory], writable: bool, parent: tuple[MergedDirectory, str] | None = None) -> None:
        super().__init__(layers[0].mode, uid=layers[0].uid, gid=layers[0].gid)
        self._layers = layers
        self._writable = writable
        self._parent = parent
        self._merged: dict[str, MergedDirectory] = {}

    def names(self) -> list[str]:
        found: set[str] = set()
        for layer in self._layers:
            found.update(layer.names())
        return sorted(name for name in found if self.lookup(name) is not None)

    def lookup(self, name: str) -> Inode | None:
        if name in self._merged:
            return self._merged[name]
        directories: list[Directory] = []
        for index, layer in enumerate(self._layers):
            inode = layer.lookup(name)
            if inode is None:
                continue
            if not isinstance(inode, Directory):
                if directories or (isinstance(inode, Node) and inode.whiteout):
                    break
                return inode
            if not directories:
                upper = self._writable and index == 0
            directories.append(inode)
            if inode.opaque:
                break
        if not directories:
            return None
        merged = MergedDirectory(directories, upper, (self, name))
        self._merged[name] = merged
        return merged

    def insert(self, name: str, inode: Inode) -> None:
        if self.lookup(name) is not None:
            raise CallFailed("open", EEXIST, name)
        upper = self._upper()
        if isinstance(inode, Directory) and name in upper.entries:
            inode.opaque = True  # a whiteout was here: what the lower layers have under this name stays hidden
        upper.entries[name] = inode

    def replace(self, name: str, inode: Inode) -> None:
        self._upper().entries[name] = inode

    def _take(self, name: str) -> None:
        upper = self._upper()
        self._merged.pop(name, None)
        upper.entries.pop(name, None)
        if any(layer.lookup(name) is not None for layer in self._layers[1:]):
            upper.entries[name] = Node(0, kind="c")

    def _upper(self) -> Directory:
        """The upper directory, copied up first when only lower ones have it. Raises `CallFailed` EROFS."""
        if self._writable:
            return self._layers[0]
        if self._parent is None:
            raise CallFailed("open", EROFS)
        holder, name = self._parent
        copied = Directory(self.mode, uid=self.uid, gid=self.gid)
        holder._upper().entries[name] = copied
        self._layers.insert(0, copied)
        self._writable = True
        return copied


def directory_at(root: Directory, path: str, mode: int = 0o755) -> Directory:
    """The directory at ``path`` below ``root``, made with its parents when missing: for seeding, without links or mounts."""
    at = root
    for name in filter(None, path.split("/")):
        inode = at.lookup(name)
        if inode is None:
            inode = Directory(mode)
            at.insert(name, inode)
        if not isinstance(inode, Directory):
            raise CallFailed("mkdir", ENOTDIR, path)
        at = inode
    return at


def seed(root: Directory, files: Mapping[str, bytes | Inode]) -> None:
    """Put files into a tree, making their directories: bytes become a file, executable when it lies in a ``bin``."""
    for path, content in files.items():
        parent, _, name = path.rstrip("/").rpartition("/")
        executable = parent.rpartition("/")[2] in ("bin", "sbin")
        inode = content if isinstance(content, Inode) else File(0o755 if executable else 0o644, content)
        directory_at(root, parent).replace(name, inode)


def paths(root: Directory, prefix: str = "") -> Iterable[tuple[str, Inode]]:
    """Every path below a directory, parents before their entries."""
    for name in root.names():
        inode = root.lookup(name)
        assert inode is not None
        yield f"{prefix}/{name}", inode
        if isinstance(inode, Directory):
            yield from paths(inode, f"{prefix}/{name}")


def read(inode: Inode, reader: object, path: str) -> bytes:
    """The content of a file. Raises `CallFailed` EISDIR or EINVAL."""
    if isinstance(inode, Directory):
        raise CallFailed("read", EISDIR, path)
    if isinstance(inode, Node):
        return b""
    if not isinstance(inode, File):
        raise CallFailed("open", EINVAL, path)
    return inode.read(reader) if inode.read is not None else inode.content


def write(directory: Directory, name: str, inode: Inode, writer: object, content: bytes) -> None:
    """Replace the content of ``inode``, the entry ``name`` of ``directory``. Raises `CallFailed` EISDIR, EPERM or EINVAL."""
    if isinstance(inode, Directory):
        raise CallFailed("open", EISDIR, name)
    if isinstance(inode, Node):
        return
    if not isinstance(inode, File):
        raise CallFailed("open", EINVAL, name)
    if inode.write is not None:
        inode.write(writer, content)
    elif inode.read is not None:
        raise CallFailed("open", EPERM, name)
    elif isinstance(directory, MergedDirectory):
        directory.replace(name, File(inode.mode, content, uid=inode.uid, gid=inode.gid))
    else:
        inode.content = content

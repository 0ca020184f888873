"""Mount namespaces: which filesystem covers which directory, and the resolution of paths through them.

A resolved path is a `Location`: the places passed on the way from the root that it was resolved beneath. Since it begins at
that root, ``..`` and absolute links cannot lead above it, which is chroot's and RESOLVE_IN_ROOT's rule alike. Nothing is ever
to be mounted in the host's namespace: what would be, or would propagate there, is kept in `MountNamespace.strays`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from docket.kernel.fake.filesystem import Directory, Inode, Link
from docket.kernel.fake.linux_errno import EEXIST, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EROFS, CallFailed

_MAX_LINKS = 40
_MAX_NAME = 255


@dataclass(eq=False)
class Mount:
    """One mount; ``location`` is the place that it covers, empty for the root of a namespace."""

    fstype: str
    source: str
    root: Inode
    location: Location = ()
    readonly: bool = False
    flags: frozenset[str] = frozenset()
    propagation: str = "private"


class Place(NamedTuple):
    """An inode as seen through a mount, under the name that led to it."""

    mount: Mount
    inode: Inode
    name: str


Location = tuple[Place, ...]


def path_of(location: Location) -> str:
    """The path of a location below its root."""
    return "/" + "/".join(place.name for place in location[1:])


@dataclass(eq=False)
class MountNamespace:
    """The mounts of one namespace, the root first."""

    mounts: list[Mount]
    host: MountNamespace | None = None
    """The host's namespace; None in the host's own."""
    strays: list[str] = field(default_factory=list)
    """In the host's namespace: the targets of mounts that reached it."""

    def root(self) -> Location:
        """The location of the namespace's root."""
        return (self._uncovered(Place(self.mounts[0], self.mounts[0].root, "")),)

    def copy(self, *locations: Location) -> tuple[MountNamespace, list[Location]]:
        """A namespace with copies of all mounts, and the same locations in it: clone(2) with CLONE_NEWNS."""
        copies = {mount: Mount(**vars(mount)) for mount in self.mounts}

        def moved(location: Location) -> Location:
            return tuple(place._replace(mount=copies.get(place.mount, place.mount)) for place in location)

        for mount in copies.values():
            mount.location = moved(mount.location)
        copied = MountNamespace(list(copies.values()), self.host or self)
        return copied, [moved(location) for location in locations]

    def mount(self, mount: Mount) -> None:
        """Add a mount on its location."""
        parent = mount.location[-1].mount
        if self.host is None:
            self.strays.append(path_of(mount.location))
        elif parent.propagation == "shared":
            self.host.strays.append(path_of(mount.location))
        self.mounts.append(mount)

    def submounts(self, location: Location) -> list[Mount]:
        """The mounts at and below a location, in the order of mounting."""
        top = (location[-1].mount, location[-1].inode)
        return [mount for mount in self.mounts if any((place.mount, place.inode) == top for place in mount.location)]

    def bind(self, source: Location, target: Location, *, readonly: bool, recursive: bool, propagation: str) -> None:
        """Mount what is at ``source`` on ``target`` as well, with the mounts below it when ``recursive``."""
        place = source[-1]
        origin = place.mount
        inherited = readonly or origin.readonly
        top = Mount(origin.fstype, origin.source, place.inode, target, inherited, origin.flags, propagation)
        below = self.submounts(source) if recursive else []
        self.mount(top)
        copies = {origin: top}
        for mount in below:
            copies[mount] = Mount(**vars(mount))
            tail = mount.location[len(source) :]
            moved = [p._replace(mount=copies.get(p.mount, p.mount)) for p in tail]
            copies[mount].location = (*target[:-1], Place(top, place.inode, target[-1].name), *moved)
            copies[mount].readonly = mount.readonly or readonly
            copies[mount].propagation = propagation
            self.mount(copies[mount])

    def pivot(self, new_root: Location) -> Location:
        """Make ``new_root``, which must be the root of a mount, the root and forget the mounts outside of it."""
        place = new_root[-1]
        # pivot_root(2), EINVAL: not a mount point, or a mount that would propagate what is done to it.
        if place.inode is not place.mount.root or not place.mount.location or self.mounts[0].propagation == "shared":
            raise CallFailed("pivot_root", EINVAL, ".")
        kept = {place.mount}
        for mount in self.mounts:
            if mount.location and mount.location[-1].mount in kept:
                kept.add(mount)
        self.mounts = [place.mount, *(mount for mount in self.mounts if mount in kept and mount is not place.mount)]
        place.mount.location = ()
        return self.root()

    def resolve(
        self,
        root: Location,
        path: str,
        *,
        cwd: Location | None = None,
        follow: bool = True,
        links: bool = True,
        syscall: str = "openat2",
    ) -> Location:
        """The location of ``path`` beneath ``root``.

        ``follow`` is for the last part, ``links`` False refuses every link. Raises `CallFailed` ENOENT, ENOTDIR, ELOOP or
        ENAMETOOLONG.
        """
        at = root if path.startswith("/") or cwd is None else cwd
        parts = [part for part in path.split("/") if part not in ("", ".")]
        budget = _MAX_LINKS
        if not path:
            raise CallFailed(syscall, ENOENT, path)
        while parts:
            part = parts.pop(0)
            inode = at[-1].inode
            if not isinstance(inode, Directory):
                raise CallFailed(syscall, ENOTDIR, path)
            if len(part.encode()) > _MAX_NAME:
                raise CallFailed(syscall, ENAMETOOLONG, path)
            if part == "..":
                at = at[:-1] if len(at) > len(root) else at
                continue
            found = inode.lookup(part)
            if found is None:
                raise CallFailed(syscall, ENOENT, path)
            place = self._uncovered(Place(at[-1].mount, found, part))
            if isinstance(place.inode, Link) and (follow or parts):
                budget -= 1
                if not links or budget < 0:
                    raise CallFailed(syscall, ELOOP, path)
                parts[:0] = [step for step in place.inode.target.split("/") if step not in ("", ".")]
                at = root if place.inode.target.startswith("/") else at
                continue
            if isinstance(place.inode, Link) and not links:
                raise CallFailed(syscall, ELOOP, path)
            at = (*at, place)
        if path.endswith("/") and not isinstance(at[-1].inode, Directory):
            raise CallFailed(syscall, ENOTDIR, path)
        return at

    def make(self, root: Location, path: str, build: Callable[[], Inode], *, links: bool = True) -> Location:
        """The location of ``path``, which is made by ``build`` when missing, and its parents as directories."""
        try:
            return self.resolve(root, path, links=links)
        except CallFailed as failure:
            if failure.errno != ENOENT:
                raise
        parent, _, name = path.rstrip("/").rpartition("/")
        holder = self.make(root, parent or "/", lambda: Directory(0o755), links=links)
        inode = build()
        self._make_entry(holder, name, inode, path)
        return self.resolve(root, path, links=links)

    def _make_entry(self, holder: Location, name: str, inode: Inode, path: str) -> None:
        """Make a mount point. What a dangling link names is not made (S7)."""
        directory = isinstance(inode, Directory)
        if isinstance(holder[-1].inode, Directory) and isinstance(holder[-1].inode.lookup(name), Link):
            raise CallFailed("openat2", ENOENT if directory else ELOOP, path)
        self.insert(holder, name, inode, "mkdirat" if directory else "openat", path)

    def insert(self, holder: Location, name: str, inode: Inode, syscall: str, path: str) -> None:
        """Make an entry in a directory. Raises `CallFailed` ENOTDIR, EEXIST or EROFS."""
        directory = writable(holder, syscall, path)
        if directory.lookup(name) is not None:
            raise CallFailed(syscall, EEXIST, path)
        try:
            directory.insert(name, inode)
        except CallFailed as failure:
            raise CallFailed(syscall, failure.errno, path) from failure

    def _uncovered(self, place: Place) -> Place:
        """The place on top of the mounts that cover a place."""
        for mount in self.mounts:
            if mount.location and mount.location[-1].mount is place.mount and mount.location[-1].inode is place.inode:
                return self._uncovered(Place(mount, mount.root, place.name))
        return place


def writable(holder: Location, syscall: str, path: str) -> Directory:
    """The directory at a location, which is about to change. Raises `CallFailed` ENOTDIR or EROFS."""
    place = holder[-1]
    if not isinstance(place.inode, Directory):
        raise CallFailed(syscall, ENOTDIR, path)
    if place.mount.readonly:
        raise CallFailed(syscall, EROFS, path)
    return place.inode

"""`HostInventory`: lists what the engine has made on this host, and looks at its processes. It only reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

import trio

from docket.adapters.images.content_store import ContentStore
from docket.adapters.images.errors import disk_errors
from docket.adapters.images.layers import OverlaySnapshotter, directory_size
from docket.domain.errors import PortError, Unavailable
from docket.domain.image_ports import StoredImage, Usage
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import Digest, parse_digest
from docket.domain.oci.manifest import Manifest, decode_manifest
from docket.domain.oci.strict_json import InvalidDocument
from docket.domain.plan.settings import Places
from docket.domain.ports import Belongings, ImageCheck, ProcessIdentity, Standing

_PIECE = 1 << 20


class HostInventory:
    """Implements `docket.domain.ports.Inventory`. ``cgroup_root`` is empty where there is no cgroup2 hierarchy."""

    def __init__(self, places: Places, cgroup_root: str, content: ContentStore, snapshotter: OverlaySnapshotter) -> None:
        self._places = places
        self._cgroup_root = cgroup_root
        self._content = content
        self._snapshotter = snapshotter

    async def belongings(self) -> Belongings:
        places = self._places
        return Belongings(
            _names(f"{places.data_root}/containers"),
            _names(f"{places.exec_root}/containers"),
            _names(f"{places.exec_root}/shims"),
            _names(f"{self._cgroup_root}/{places.group}") if self._cgroup_root else (),
        )

    async def check_images(self, images: Sequence[StoredImage]) -> ImageCheck:
        return await trio.to_thread.run_sync(self._check_images, images)

    def _check_images(self, images: Sequence[StoredImage]) -> ImageCheck:
        damage: dict[str, tuple[str, ...]] = {}
        blobs: set[Digest] = set()
        layers: set[Digest] = set()
        verdicts: dict[Digest, str] = {}
        for image in images:
            layers |= set(chain := chain_ids([parse_digest(diff_id) for diff_id in image.diff_ids]))
            manifest = parse_digest(image.manifest)
            needed = [manifest, *self._named_by(manifest, image.manifest_type)]
            blobs |= set(needed)
            for digest in needed:
                if digest not in verdicts:
                    verdicts[digest] = self._blob_damage(digest)
            found = [verdicts[digest] for digest in needed if verdicts[digest]]
            found += [f"layer {chain_id} is not unpacked" for chain_id in chain if not self._snapshotter.has(chain_id)]
            if found:
                damage[image.image] = tuple(found)
        strangers = [f"blob {digest}" for digest in self._content.digests() if digest not in blobs]
        strangers += [f"layer {chain_id}" for chain_id in self._snapshotter.chain_ids() if chain_id not in layers]
        return ImageCheck(damage, tuple(strangers))

    def _named_by(self, manifest: Digest, media_type: str) -> Iterator[Digest]:
        """The blobs that a manifest names; none when it cannot be read, which is found by itself."""
        try:
            document = decode_manifest(self._content.read(manifest), media_type)
        except (PortError, InvalidDocument):
            return
        if isinstance(document, Manifest):
            yield parse_digest(document.config.digest)
            yield from (parse_digest(layer.digest) for layer in document.layers)

    def _blob_damage(self, digest: Digest) -> str:
        """What is wrong with a blob, every byte of which is read; empty when nothing is."""
        try:
            if not self._content.has(digest):
                return f"blob {digest} is missing"
            hashed = hashlib.sha256()
            with self._content.open(digest) as file:
                while piece := file.read(_PIECE):
                    hashed.update(piece)
        except PortError as error:
            return f"blob {digest} cannot be read: {error}"
        return (
            "" if f"sha256:{hashed.hexdigest()}" == str(digest) else f"blob {digest} is damaged: its bytes have another digest"
        )

    async def usage(self, images: Sequence[StoredImage], directories: Sequence[str]) -> Usage:
        return await trio.to_thread.run_sync(self._usage, images, directories)

    def _usage(self, images: Sequence[StoredImage], directories: Sequence[str]) -> Usage:
        chains = {chain for image in images for chain in chain_ids([parse_digest(each) for each in image.diff_ids])}
        layers = {str(chain): self._snapshotter.size(chain) for chain in chains if self._snapshotter.has(chain)}
        return Usage(layers, {path: directory_size(path) for path in directories})

    async def standing(self, identity: ProcessIdentity) -> Standing | None:
        return _standing(identity, self._cgroup_root)


def _names(directory: str) -> tuple[str, ...]:
    """The directories in a directory, sorted; none when it is not there."""
    with disk_errors(f"list {directory}"):
        try:
            with os.scandir(directory) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False)))
        except FileNotFoundError:
            return ()


def _standing(identity: ProcessIdentity, cgroup_root: str) -> Standing | None:
    """Read from /proc; the start time is looked at last, so what was read is that process's (S15)."""
    root = f"/proc/{identity.pid}"
    try:
        groups, mounts, stat = (_text(f"{root}/{name}") for name in ("cgroup", "mountinfo", "stat"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        raise Unavailable(f"process {identity.pid} cannot be looked at: {error.strerror}") from error
    if int(stat[stat.rindex(")") + 2 :].split()[19]) != identity.start_time:
        return None
    group = next((line[3:] for line in groups.splitlines() if line.startswith("0::")), "")
    points = frozenset(_unescaped(line.split(" ", 5)[4]) for line in mounts.splitlines())
    return Standing(cgroup_root + group.rstrip("/"), points) if points else None


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _unescaped(path: str) -> str:
    """proc(5): blanks, tabs, line feeds and backslashes are octal."""
    if "\\" not in path:
        return path
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(escaped, character)
    return path

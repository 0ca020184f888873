"""`FakeInventory`: the fake kernel's host, looked at as `docket.domain.ports.Inventory`."""

from __future__ import annotations

from collections.abc import Sequence

from docket.domain.image_ports import StoredImage, Usage
from docket.domain.oci.chain_id import chain_ids
from docket.domain.oci.digest import parse_digest
from docket.domain.plan.settings import Places
from docket.domain.ports import Belongings, ImageCheck, ProcessIdentity, Standing
from docket.kernel.fake.filesystem import Directory, directory_at
from docket.kernel.fake.kernel import FakeKernel
from docket.kernel.fake.mounts import path_of


class FakeInventory:
    """Lists the model's directories, cgroups, cgroup memberships and mounts. ``check`` is what is said of images."""

    def __init__(self, kernel: FakeKernel, places: Places) -> None:
        self._kernel = kernel
        self._places = places
        self.check = ImageCheck()

    async def belongings(self) -> Belongings:
        places, cgroups = self._places, self._kernel.model.cgroups
        parent = f"{cgroups.mount_point}/docket"
        groups = cgroups.find(parent).children if cgroups.exists(parent) else {}
        return Belongings(
            self._names(f"{places.data_root}/containers"),
            self._names(f"{places.exec_root}/containers"),
            self._names(f"{places.exec_root}/shims"),
            tuple(sorted(groups)),
        )

    def _names(self, path: str) -> tuple[str, ...]:
        holder = directory_at(self._kernel.host_files, path)
        return tuple(name for name in holder.names() if isinstance(holder.lookup(name), Directory))

    async def check_images(self, images: Sequence[StoredImage]) -> ImageCheck:
        return self.check

    async def usage(self, images: Sequence[StoredImage], directories: Sequence[str]) -> Usage:
        layers = {str(chain): 1 for image in images for chain in chain_ids([parse_digest(each) for each in image.diff_ids])}
        return Usage(layers, dict.fromkeys(directories, 0))

    async def standing(self, identity: ProcessIdentity) -> Standing | None:
        process = self._kernel.model.processes.table.get(identity.pid)
        if process is None or not process.alive or process.start_time != identity.start_time:
            return None
        namespace = process.namespaces["mount"].mounts
        assert namespace is not None
        points = frozenset(path_of(mount.location) if mount.location else "/" for mount in namespace.mounts)
        return Standing(process.cgroup, points)

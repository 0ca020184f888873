"""The domain's `Rootfs` port over the snapshotter: quick answers at once, deleting in the background.

`OverlayRootfs.run` must run for as long as the engine does; without it directories leave their place and stay in the trash
until the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from docket.adapters.images.layers import OverlaySnapshotter


class OverlayRootfs:
    """Directories of containers and images. ``report`` is told why something in the trash could not be deleted."""

    def __init__(self, snapshotter: OverlaySnapshotter, report: Callable[[str], None]) -> None:
        self._snapshotter = snapshotter
        self._report = report
        self._wake = trio.Event()
        self._wake.set()

    def lowerdirs(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """The directories of an image's layers, top-most first; raises `Unavailable` if one is missing."""
        return self._snapshotter.lowerdirs(diff_ids)

    async def remove(self, path: str) -> None:
        """Moves a directory into the trash; when this returns it is gone from its place. Raises `KernelError`."""
        await trio.to_thread.run_sync(self._snapshotter.move_to_trash, path)
        self._wake.set()

    async def run(self) -> None:
        """Empties the trash, at once for what an earlier engine left there, then after each removal."""
        reported: set[str] = set()
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            blocked = await trio.to_thread.run_sync(self._snapshotter.empty_trash)
            for reason in blocked:
                if reason not in reported:
                    self._report(reason)
            reported = set(blocked)

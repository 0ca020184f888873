"""Removing is quick, deleting happens behind it, and what cannot be deleted is reported once."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from docket.adapters.images.layers import OverlaySnapshotter
from docket.adapters.images.rootfs import OverlayRootfs


async def test_directories_leave_at_once_and_are_deleted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `remove` the place is free; the running task empties the trash, old things first."""
    (tmp_path / "trash/old").mkdir(parents=True)
    (tmp_path / "containers/c/upper").mkdir(parents=True)
    snapshotter = OverlaySnapshotter(str(tmp_path))
    reports: list[str] = []
    rootfs = OverlayRootfs(snapshotter, reports.append)
    emptied = trio.Event()
    real = snapshotter.empty_trash
    calls: list[int] = []

    def empty() -> list[str]:
        calls.append(1)
        real()
        if len(calls) == 2:
            trio.from_thread.run_sync(emptied.set)
        return ["trash/x: Device or resource busy"]

    monkeypatch.setattr(snapshotter, "empty_trash", empty)
    await rootfs.remove(str(tmp_path / "containers/c"))
    assert not (tmp_path / "containers/c").exists()
    assert len(list((tmp_path / "trash").iterdir())) == 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rootfs.run)
        while not calls:
            await wait_all_tasks_blocked()
        await rootfs.remove(str(tmp_path / "containers/none"))
        await emptied.wait()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert list((tmp_path / "trash").iterdir()) == []
    assert reports == ["trash/x: Device or resource busy"]
    snapshotter.close()
